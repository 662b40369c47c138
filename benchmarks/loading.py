"""Loading the bundled model once it is unpacked, and what bfloat16 is worth on this processor."""

import subprocess
import sys
from pathlib import Path
from statistics import median

import torch

from benchmarks.timing import Line, in_turns, ratio
from models.loading import bundled
from models.loading.load import load
from models.subject import ModelRef, Subject

ROOT = Path(__file__).parent.parent
_PROGRAM = """
import time
begun = time.perf_counter()
from models.loading.load import load
from models.subject import ModelRef
imported = time.perf_counter()
load(ModelRef())
print(imported - begun, time.perf_counter() - imported)
"""


def bundled_model(rounds: int) -> list[Line]:
    """Each time in a fresh process; importing torch and transformers is reported but not counted."""
    bundled.folder()  # unpacks it if nobody did before
    found = []
    for _ in range(rounds):
        printed = subprocess.check_output([sys.executable, "-c", _PROGRAM], cwd=ROOT, text=True)
        found.append([float(each) for each in printed.split()])
    imports, loads = (median(column) for column in zip(*found, strict=True))
    note = f"in a fresh process; its imports took {imports:.1f} s more"
    return [Line("load of the bundled model", loads, "s", most=3, note=note)]


def half_precision(subject: Subject, windows: torch.Tensor, rounds: int) -> list[Line]:
    """A forward pass in float32 over the same one in bfloat16; around 3 where the processor has AMX."""
    half = load(ModelRef(subject.ref.name, dtype="bfloat16"))

    def forward(model: torch.nn.Module) -> None:
        with torch.inference_mode():
            model(input_ids=windows, use_cache=False, logits_to_keep=1)

    times = in_turns(rounds, {"float32": lambda: forward(subject.model), "bfloat16": lambda: forward(half.model)})
    return [ratio(times, "float32", "bfloat16", "forward pass: float32 ÷ bfloat16")]
