"""Read a GGUF file back in a fresh process, by llama.cpp itself."""

import importlib.util
import json
import math
import sys
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from plans.export import process
from plans.export.gguf import llama_cpp
from refusal import Progress, Refusal, silent

EVERY = 8  # tokens between two places of a window at which llama.cpp is asked: each answer is a JSON text
TOP = 64  # likely tokens that it tells
# Mean KL in nats that the runtime's arithmetic explains: it quantises activations, too. See docs/decisions.md.
TOLERANCE = 0.01


def readable() -> str:
    """Why no GGUF file can be read back here, in a sentence; empty: it can."""
    if importlib.util.find_spec("xllamacpp"):
        return ""
    return f"llama.cpp, which reads the file back, is not installed. Run: {sys.executable} -m pip install xllamacpp"


def reads(file: Path, tokens: Tensor, vocab: int, progress: Progress = silent) -> Tensor:
    """Log-probabilities that llama.cpp gives to the likely next tokens, at every 8th place of each window.

    Parameters
    ----------
    tokens : int64 tensor of shape (windows, tokens)
    vocab : int

    Returns
    -------
    float32 tensor of shape (windows, tokens, vocab)
        NaN where llama.cpp was not asked, or did not tell.

    Raises
    ------
    Refusal
        llama.cpp is not installed, or cannot load the file.
    """
    if why := readable():
        raise Refusal(why)
    ends = list(range(min(EVERY, tokens.shape[1]), tokens.shape[1] + 1, EVERY))
    asked = {"model": str(file), "windows": tokens.tolist(), "ends": ends, "top": min(TOP, vocab)}
    with tempfile.TemporaryDirectory() as scratch:
        question, answer = Path(scratch) / "asked.json", Path(scratch) / "answered.json"
        question.write_text(json.dumps(asked | {"threads": torch.get_num_threads()}))
        # -P: the folder of the program is not looked through for modules.
        command = [sys.executable, "-P", llama_cpp.__file__, str(question), str(answer)]
        process.run(command, "reading it back by llama.cpp, in a fresh process", _complaint, progress)
        told = json.loads(answer.read_text())
    found = torch.full((*tokens.shape, vocab), math.nan)
    for window, places in zip(found, told, strict=True):
        for end, pairs in zip(ends, places, strict=True):
            ids, logarithms = zip(*pairs, strict=True)
            window[end - 1, list(ids)] = torch.tensor(logarithms)
    return found


def divergence(found: Tensor, live: Tensor) -> float:
    """Mean KL in nats from what the live view predicts to what llama.cpp does, over the places where that was asked.

    The tokens that llama.cpp did not tell count as one, so this is at most the KL over the whole vocabulary.

    Parameters
    ----------
    found, live : tensors of shape (windows, tokens, vocab)
        Log-probabilities; ``found`` as `reads` gives it.
    """
    totals = []
    for said, expected in zip(found.flatten(0, 1), live.flatten(0, 1), strict=True):
        told = ~said.isnan()
        if told.any():
            q, p = said[told].double(), expected[told].double()
            rest_q, rest_p = (torch.log((1 - each.exp().sum()).clamp_min(1e-9))[None] for each in (q, p))
            p, q = torch.cat([p, rest_p]), torch.cat([q, rest_q])
            totals.append((p.exp() * (p - q)).sum())
    return float(torch.stack(totals).mean()) if totals else math.nan


def _complaint(lines: list[str], code: int) -> str:
    errors = [line for line in lines if "error" in line.lower()]
    why = errors[0] if errors else f"it ended with {code}"
    return f"llama.cpp cannot run what was written: {why}. Nothing was exported."
