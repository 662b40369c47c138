"""Will it fit? Memory a model needs, memory there is, and the device it goes to."""

from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from models.loading.weight_files import ITEMSIZE
from refusal import Refusal

DTYPES = ("auto", "float32", "bfloat16", "float16")
DEVICES = ("auto", "cpu", "cuda", "mps", "split")
# Weights take their own bytes; the tenth on top is for buffers and for the tensors in flight while loading.
_ROOM = 1.1


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
        return f"needs {_spoken(self.needs)}, {_spoken(self.free)} free"


def estimated(parameters: int, stored: str, dtype: str, device: str) -> Estimate:
    """The estimate for a number of parameters.

    Parameters
    ----------
    stored : str
        The checkpoint's own dtype, taken where ``dtype`` is "auto".
    """
    wanted = stored if dtype == "auto" else dtype
    needs = _needed(parameters, wanted)
    place = _place(device, needs)
    if dtype == "auto" and wanted == "float16" and not _accelerated(place):
        wanted = "float32"  # CPUs compute float16 slowly, and it overflows
        needs = _needed(parameters, wanted)
    return Estimate(parameters, needs, free_memory(place), place, wanted)


def free_memory(device: str) -> int:
    """Bytes that can be used now; for "split" those of the GPU and of the CPU together."""
    free = 0
    if device in ("cuda", "split") and torch.cuda.is_available():
        free += torch.cuda.mem_get_info()[0]
    if device != "cuda":
        free += min(psutil.virtual_memory().available, _container_room())
    return free


def native_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 itself, which is then faster than float32; other CPUs imitate it slowly."""
    asked = getattr(torch.cpu, "get_capabilities", dict)()  # older torch cannot tell
    return any(has for name, has in asked.items() if name.endswith("bf16"))


def _place(device: str, needs: int) -> str:
    """The device that a model of so many bytes goes to; only "auto" chooses."""
    mps = torch.backends.mps.is_available()
    if device == "cuda" and not torch.cuda.is_available():
        raise Refusal("There is no CUDA device here (or torch was installed without CUDA). Choose cpu or auto.")
    if device == "mps" and not mps:
        raise Refusal("There is no Apple GPU here. Choose cpu or auto.")
    if device != "auto":
        return device
    if torch.cuda.is_available():
        return "cuda" if needs <= free_memory("cuda") else "split"
    return "mps" if mps else "cpu"


def _accelerated(place: str) -> bool:
    return place in ("cuda", "mps") or (place == "split" and torch.cuda.is_available())


def _needed(parameters: int, dtype: str) -> int:
    return int(parameters * ITEMSIZE[dtype] * _ROOM)


def _container_room() -> float:
    """Bytes left to a container with a memory limit, which the machine's own free memory does not tell."""
    group = Path("/sys/fs/cgroup")
    try:
        limit = (group / "memory.max").read_text().strip()
        used = int((group / "memory.current").read_text())
        cached = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())["inactive_file"]
    except (OSError, KeyError, ValueError):  # no such group: another system, or no limit at all
        return float("inf")
    return float("inf") if limit == "max" else max(0, int(limit) - used + int(cached))


def _spoken(size: int) -> str:
    """Bytes as a person says them: 0.6 GB, 21 GB, 3 MB."""
    if size < 1e8:
        return f"{size / 1e6:.0f} MB"
    return f"{size / 1e9:.1f} GB" if size < 1e10 else f"{size / 1e9:.0f} GB"
