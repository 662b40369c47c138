"""The row of the format in FORMATS."""

from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from plans.export.format import Checkpoint, Format, Runtime
from plans.export.gguf.layout import layout
from plans.export.gguf.reread import TOLERANCE, divergence, readable, reads
from plans.export.gguf.source import opened, source_of
from plans.export.gguf.write import refusal, write
from plans.plan import Plan
from refusal import Progress, Refusal


def _name(checkpoint: Checkpoint) -> str:
    source = checkpoint.source
    return str(source.folder / source.gguf) if source.gguf else source.name


def _cannot(checkpoint: Checkpoint) -> str:
    if why := refusal(checkpoint.plan):
        return why
    try:
        path = source_of(_name(checkpoint))
        status = path.stat()
    except Refusal as refused:
        return str(refused)
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}."
    return _unfit(path, status.st_size, status.st_mtime_ns, checkpoint.plan)


@lru_cache(maxsize=64)  # a page asks at every redraw, and each look takes a tenth of a second
def _unfit(path: Path, size: int, changed: int, plan: Plan) -> str:
    try:
        layout(opened(path), plan)
    except Refusal as refused:
        return str(refused)
    return ""


def _size(checkpoint: Checkpoint) -> int:
    if why := readable():
        raise Refusal(why)
    return layout(opened(source_of(_name(checkpoint))), checkpoint.plan).size


def _write(checkpoint: Checkpoint, folder: Path, progress: Progress) -> None:
    source = source_of(_name(checkpoint))
    write(source, checkpoint.plan, folder / f"{source.stem}-pruned.gguf", progress)


def _reads(folder: Path, tokens: Tensor, dtype: torch.dtype, device: str, progress: Progress) -> Tensor:
    (file,) = folder.glob("*.gguf")
    embedding = next(tensor for tensor in opened(file).tensors if tensor.name == "token_embd.weight")
    return reads(file, tokens, int(embedding.shape[1]), progress)


FORMAT = Format(
    name="gguf",
    sentence="The GGUF file that the model came from, rewritten; nothing is quantised again.",
    expresses="b of any architecture; a and m of Llama-like models; from a .gguf file only",
    runtimes=(
        Runtime("llama.cpp", True, "llama-server -m FILE"),
        Runtime("Ollama", True, "by the llama.cpp inside it: FROM FILE in a Modelfile"),
        Runtime("LM Studio", True, "by the llama.cpp inside it"),
        Runtime("vLLM", False, "not tested with these files; `removed` and `noop` are for it"),
        Runtime("transformers", False, "only if whole blocks are all that is gone: each of its layers has both sublayers"),
    ),
    cannot=_cannot,
    size=_size,
    write=_write,
    reads=_reads,
    tolerance=dict.fromkeys((torch.float32, torch.bfloat16, torch.float16), TOLERANCE),
    companions=False,
    differs=divergence,
    differs_by="the mean KL is",
    or_else=", or the plan leaves so little of it that rounding alone changes what it says",
    library="gguf",
)
