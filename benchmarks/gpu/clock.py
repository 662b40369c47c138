"""Seconds and bytes on a device that works behind the host's back: both begin and end with nothing left to do."""

import gc
from collections.abc import Callable

import torch

from benchmarks.gpu.shapes import DEVICE
from benchmarks.timing import Times, in_turns


def finish() -> None:
    """Wait until the device has done everything."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def side_by_side(rounds: int, works: dict[str, Callable[[], object]]) -> Times:
    """`benchmarks.timing.in_turns`, each work with the device's part of it."""

    def waited(work: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            work()
            finish()

        return run

    return in_turns(rounds, {name: waited(work) for name, work in works.items()})


def allocated() -> int:
    """Bytes of tensors on the device now; 0 on a CPU, which does not count them."""
    gc.collect()
    finish()
    return torch.cuda.memory_allocated() if DEVICE.type == "cuda" else 0


def peak(work: Callable[[], object]) -> int:
    """The most bytes of tensors on the device during a work, what was there before included; 0 on a CPU."""
    allocated()
    if DEVICE.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    work()
    finish()
    return torch.cuda.max_memory_allocated() if DEVICE.type == "cuda" else 0
