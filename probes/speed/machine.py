"""Which machine this is, and whether it had anything else to do while something was timed."""

import hashlib
import os
import platform
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import torch

from models.lease import others_at_work

_RESOLUTION = 0.01 * (os.cpu_count() or 1)  # seconds of all cores: the system counts in hundredths
QUIET = 0.2  # cores that other processes may take before a timing is called disturbed; an idle desktop takes less


def machine(device: str) -> dict[str, Any]:
    """What a timing belongs to, as part of a question.

    Parameters
    ----------
    device : str
        As asked for; "auto" is the CPU where there is nothing else.

    Returns
    -------
    dict
        ``id, cpu, cores, threads, gpus, device``: two machines with the same parts differ by their id.
    """
    gpus = _gpus()
    place = "cpu" if device == "auto" and not gpus and not torch.backends.mps.is_available() else device
    known = {"cpu": _cpu(), "cores": os.cpu_count() or 1, "threads": torch.get_num_threads(), "gpus": list(gpus)}
    # The host's name tells machines apart and is nobody's business, so only a digest of it is kept.
    identity = hashlib.sha256(f"{platform.node()} {known['cpu']} {gpus}".encode()).hexdigest()[:16]
    return {"id": identity, **known, "device": place}


@cache
def _cpu() -> str:
    """The processor's name; where the system does not tell it, the name of its instructions."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


@cache
def _gpus() -> tuple[str, ...]:
    if not torch.cuda.is_available():
        return ()
    return tuple(torch.cuda.get_device_name(place) for place in range(torch.cuda.device_count()))


@dataclass(frozen=True)
class Circumstances:
    """What was true while something was timed.

    Attributes
    ----------
    device, device_name, dtype, attention : str
        Where and in what it was computed; transformers' name of the attention's kernel.
    threads, cores : int
        That torch computes with on the CPU; that there are.
    load_before, load_after : float
        Load average of the last minute, in running processes.
    busy_elsewhere : float
        Cores that other processes took, on average; seen from inside a container as well.
    others : int
        Threads of this process that worked with a model besides: other jobs, answers being written, models being loaded.
    quiet : bool
        No other job, and other processes took at most 0.2 cores. What else a GPU had to do is not known.
    says : str
        The same as a sentence.
    """

    device: str
    device_name: str
    dtype: str
    attention: str
    threads: int
    cores: int
    load_before: float
    load_after: float
    busy_elsewhere: float
    others: int
    quiet: bool
    says: str


class Watch:
    """What else goes on, from its making until `over`."""

    def __init__(self) -> None:
        self._load = psutil.getloadavg()[0]
        self._begun, self._busy, self._ours = time.monotonic(), _busy(), _ours()
        self._others, self._seen = others_at_work()

    def look(self) -> None:
        """See who works now; whoever begins and ends between two looks is seen as well, in the end."""
        self._others = max(self._others, others_at_work()[0])

    def over(self, device: torch.device, dtype: torch.dtype, attention: str = "unknown") -> Circumstances:
        """What it was like."""
        wall = max(time.monotonic() - self._begun, 1e-9)
        elsewhere = max(0.0, (_busy() - self._busy - (_ours() - self._ours) - _RESOLUTION) / wall)
        self.look()
        others = max(self._others, others_at_work()[1] - self._seen)
        quiet = others == 0 and elsewhere <= QUIET
        return Circumstances(
            device=str(device),
            device_name=torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu(),
            dtype=str(dtype).removeprefix("torch."),
            attention=attention,
            threads=torch.get_num_threads(),
            cores=os.cpu_count() or 1,
            load_before=self._load,
            load_after=psutil.getloadavg()[0],
            busy_elsewhere=elsewhere,
            others=others,
            quiet=quiet,
            says=_sentence(others, elsewhere, quiet),
        )


def _sentence(others: int, elsewhere: float, quiet: bool) -> str:
    if quiet:
        return "measured on an otherwise idle machine"
    seen = [f"{others} other job{'s' if others > 1 else ''} ran in this process"] if others else []
    seen += [f"other processes took {elsewhere:.1f} cores"] if elsewhere > QUIET else []
    return f"measured on a busy machine: {' and '.join(seen)}"


def _busy() -> float:
    """CPU seconds that anybody took, since the machine was started; a guest's are those of its host as well."""
    times = psutil.cpu_times()
    return sum(getattr(times, name, 0.0) for name in ("user", "nice", "system", "irq", "softirq", "steal"))


def _ours() -> float:
    times = psutil.Process().cpu_times()
    return times.user + times.system
