"""One pass of a view over a batch: the prompt at once, then one token at a time with a real cache; timed, or weighed."""

import ctypes
import gc
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil
import torch
from torch import Tensor
from transformers import DynamicCache

from measures.finite import refuse_nonsense
from models.view import View

_STEP = 0.002  # seconds between two looks at the resident set; the large tensors of a pass live longer than that


@dataclass(frozen=True, eq=False)
class Run:
    """A view and what it reads.

    Attributes
    ----------
    prompt : int64 tensor of shape (batch, prompt)
    new : int64 tensor of shape (batch, new)
        The tokens that are fed one at a time. They are given and not chosen, so that both models compute the same.
    """

    view: View
    prompt: Tensor
    new: Tensor

    def prefill(self, cache: DynamicCache | None) -> Tensor:
        """Read the prompts; logits of shape (batch, 1, vocab) after them."""
        return self.view.logits(self.prompt, cache, last=True)

    def decode(self, cache: DynamicCache | None) -> Tensor:
        """Read the new tokens, one step each; logits of shape (batch, 1, vocab) after the last.

        A model without any attention has no cache and needs none: its step reads the newest token alone.
        """
        for step in range(self.new.shape[1]):
            logits = self.view.logits(self.new[:, step : step + 1], cache, last=True)
        return logits


def finish(device: torch.device) -> None:
    """Wait until the devices have done what they were told; a CPU has already."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        for place in range(torch.cuda.device_count()):  # a split model may be on any of them
            torch.cuda.synchronize(place)
    if device.type == "mps":
        torch.mps.synchronize()


def warmed(run: Run, whose: str) -> DynamicCache | None:
    """Run once, unmeasured: kernels are chosen, pools of threads and of memory filled. Returns the cache as it ends.

    Raises
    ------
    Refusal
        The logits are no numbers, so what is timed would not be the model.
    """
    cache = run.view.cache()
    refuse_nonsense(f"The {whose} model's logits", run.prefill(cache), run.decode(cache))
    finish(run.prompt.device)
    return cache


def timed(run: Run) -> tuple[float, float]:
    """Seconds of the prefill, and of the whole decode after it."""
    cache, device = run.view.cache(), run.prompt.device
    return _seconds(lambda: run.prefill(cache), device), _seconds(lambda: run.decode(cache), device)


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    finish(device)
    begun = time.perf_counter()
    work()
    finish(device)
    return time.perf_counter() - begun


def weighed(run: Run) -> tuple[int, int]:
    """Bytes before a run, and at its peak: of the tensors on the GPUs, else the resident set of this process."""

    def work() -> None:
        cache = run.view.cache()
        run.prefill(cache)
        run.decode(cache)

    if run.prompt.device.type == "cuda":
        return _on_gpus(work)
    return resident(work)


def _on_gpus(work: Callable[[], None]) -> tuple[int, int]:
    places = range(torch.cuda.device_count())
    gc.collect()
    finish(torch.device("cuda"))
    before = sum(torch.cuda.memory_allocated(place) for place in places)
    for place in places:
        torch.cuda.reset_peak_memory_stats(place)
    work()
    finish(torch.device("cuda"))
    return before, sum(torch.cuda.max_memory_allocated(place) for place in places)


def resident(work: Callable[[], None]) -> tuple[int, int]:
    """Bytes of memory that this process has, before some work and at its peak, looked at every 2 ms."""
    _give_back()
    process, over = psutil.Process(), threading.Event()
    before = highest = process.memory_info().rss

    def look() -> None:
        nonlocal highest
        while not over.wait(_STEP):
            highest = max(highest, process.memory_info().rss)

    looking = threading.Thread(target=look, name="resident set", daemon=True)
    looking.start()
    try:
        work()
    finally:
        over.set()
        looking.join()
    return before, max(highest, process.memory_info().rss)


def _give_back() -> None:
    """Return freed memory to the system; what an allocator keeps would hide what the next run takes."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
