"""Will it fit? Memory a model needs, memory there is, and the device it goes to."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch
from torch import nn

from models.loading.weight_files import ITEMSIZE
from refusal import Refusal
from settings import settings

DTYPES = ("auto", "float32", "bfloat16", "float16")
DEVICES = ("auto", "cpu", "cuda", "mps", "split")
# Weights take their own bytes; the tenth on top is for buffers and for the tensors in flight while loading.
_ROOM = 1.1
# Of the memory that is there, what models may take; the rest is for windows of text, caches and answers.
_SHARE = 0.8
# Control groups of both versions: folder, limit, what is used, and which of it the kernel gives back when it is needed.
_GROUPS = Path("/sys/fs/cgroup")
_LIMITS = (
    ("", "memory.max", "memory.current", "inactive_file"),
    ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


@dataclass(frozen=True)
class Estimate:
    """Memory for the weights of a model; what a question takes on top grows with its windows and their length.

    Attributes
    ----------
    parameters : int
        Numbers in the weight files; tied weights count once.
    needs, free : int
        Bytes.
    device : str
        Where it would go: cpu, cuda, mps, or split (over GPU and CPU memory).
    dtype : str
        What it would compute in.
    """

    parameters: int
    needs: int
    free: int
    device: str
    dtype: str

    @property
    def fits(self) -> bool:
        """Whether there is room now."""
        return self.needs <= self.free

    def __str__(self) -> str:
        return f"needs {format_bytes(self.needs)}, and {format_bytes(self.free)} is free"


def estimated(parameters: int, stored: str, dtype: str, device: str, room: Callable[[str], int] | None = None) -> Estimate:
    """The estimate for a number of parameters.

    Parameters
    ----------
    stored : str
        The checkpoint's own dtype, taken where ``dtype`` is "auto".
    room : callable, optional
        Bytes that the model may take on a device; without it, what is free now.
    """
    room = room or free_memory
    wanted = stored if dtype == "auto" else dtype
    needs = _needed(parameters, wanted)
    place = _place(device, needs, room)
    if dtype == "auto" and wanted == "float16" and not _accelerated(place):
        wanted = "float32"  # CPUs compute float16 slowly, and it overflows
        needs = _needed(parameters, wanted)
    return Estimate(parameters, needs, room(place), place, wanted)


def free_memory(device: str) -> int:
    """Bytes that can be used now; for "split" those of the GPU and of the CPU together."""
    free = 0
    if device in ("cuda", "split") and torch.cuda.is_available():
        # What torch keeps of weights that are gone is as good as free.
        free += torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    if device != "cuda":
        free += min(psutil.virtual_memory().available, _container_room())
    return free


def allowed(memory: str, loaded: int) -> int:
    """Bytes that all models together may take in one memory: what the operator set, else a share of what is there.

    Parameters
    ----------
    memory : str
        ``cpu`` or ``cuda``.
    loaded : int
        Bytes of models that are in it already, and could be let go.
    """
    there = free_memory(memory) + loaded
    limit = settings().limit(memory)
    return int(_SHARE * there) if limit is None else min(limit, there)


def spread(place: str, needs: int, room: Callable[[str], int]) -> dict[str, int]:
    """Bytes that a model will take of each memory, ``cpu`` and ``cuda``, where "split" fills the GPU first."""
    fills = {"cuda": needs, "split": min(needs, room("cuda")) if torch.cuda.is_available() else 0}.get(place, 0)
    return {memory: size for memory, size in (("cuda", fills), ("cpu", needs - fills)) if size}


def taken(model: nn.Module) -> dict[str, int]:
    """Bytes that the weights of a loaded model take of each memory, ``cpu`` and ``cuda``."""
    found: dict[str, int] = {}
    for tensor in {id(each): each for each in (*model.parameters(), *model.buffers())}.values():
        memory = "cuda" if tensor.is_cuda else "cpu"  # weights that accelerate took away show as "meta"
        found[memory] = found.get(memory, 0) + tensor.nbytes
    return found


def native_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 itself, which is then faster than float32; other CPUs imitate it slowly."""
    asked = getattr(torch.cpu, "get_capabilities", dict)()  # older torch cannot tell
    return any(has for name, has in asked.items() if name.endswith("bf16"))


def _place(device: str, needs: int, room: Callable[[str], int]) -> str:
    """The device that a model of so many bytes goes to; only "auto" chooses."""
    mps = torch.backends.mps.is_available()
    if device == "cuda" and not torch.cuda.is_available():
        raise Refusal("There is no CUDA device here (or torch was installed without CUDA). Choose cpu or auto.")
    if device == "mps" and not mps:
        raise Refusal("There is no Apple GPU here. Choose cpu or auto.")
    if device != "auto":
        return device
    if torch.cuda.is_available():
        return "cuda" if needs <= room("cuda") else "split"
    return "mps" if mps else "cpu"


def device_of(asked: str) -> str:
    """The device that a model asked for on ``asked`` will mostly compute on: cpu, cuda or mps."""
    if asked in ("cpu", "cuda", "mps"):
        return asked
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if asked == "auto" and torch.backends.mps.is_available() else "cpu"


def _accelerated(place: str) -> bool:
    return place in ("cuda", "mps") or (place == "split" and torch.cuda.is_available())


def _needed(parameters: int, dtype: str) -> int:
    return int(parameters * ITEMSIZE[dtype] * _ROOM)


def _container_room() -> float:
    """Bytes left to a container with a memory limit, which the machine's own free memory does not tell."""
    return min(_room_of(_GROUPS / folder, *names) for folder, *names in _LIMITS)


def _room_of(group: Path, most: str, current: str, reclaimed: str) -> float:
    try:
        limit = (group / most).read_text().strip()
        used = int((group / current).read_text())
        cached = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())[reclaimed]
    except (OSError, KeyError, ValueError):  # no such group: another system, or no limit at all
        return float("inf")
    return float("inf") if limit == "max" else max(0, int(limit) - used + int(cached))


def format_bytes(size: int) -> str:
    """Bytes as a person says them: 0.6 GB, 21 GB, 3 MB."""
    if size < 1e8:
        return f"{size / 1e6:.0f} MB"
    return f"{size / 1e9:.1f} GB" if size < 1e10 else f"{size / 1e9:.0f} GB"
