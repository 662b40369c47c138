"""How long each sublayer takes, for a budget in milliseconds."""

import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from models.subject import Subject
from models.view import View
from plans.cut import cut

_PASSES = 7  # after one that warms up


def part_times(
    subject: Subject, window: Tensor, look: Callable[[], None] = lambda: None
) -> tuple[np.ndarray, np.ndarray, float]:
    """Medians over passes of the dense model over one window, in milliseconds.

    Parameters
    ----------
    window : int64 tensor of shape (tokens,)
    look : callable
        Called after each pass, to see what else goes on.

    Returns
    -------
    attention, mlp : float64 arrays of shape (layers,)
        Without their norms.
    total : float
        A whole pass without the head.
    """
    view = cut(subject)
    times = np.zeros((2, subject.layers))
    _watch(view, times, subject.device)
    passes, totals = [], []
    for _ in range(1 + _PASSES):
        start = _now(subject.device)
        view.logits(window[None], last=True)
        totals.append(_now(subject.device) - start)
        passes.append(times.copy())
        look()
    attention, mlp = np.median(passes[1:], axis=0)
    return attention, mlp, float(np.median(totals[1:]))


def _now(device: torch.device) -> float:
    """Milliseconds, once the device has done what it was asked."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)  # or the time is that of asking for the work
    return 1000 * time.perf_counter()


def _watch(view: View, times: np.ndarray, device: torch.device) -> None:
    """Let every pass of a view write into ``times``, of shape (2, layers), how long each attention and each MLP took."""
    begun: dict[int, float] = {}

    def begin(which: int, module: nn.Module, args: tuple) -> None:
        begun[which] = _now(device)

    def end(kind: int, layer: int, which: int, module: nn.Module, args: tuple, output: object) -> None:
        times[kind, layer] = _now(device) - begun[which]

    for layer, block in enumerate(view.layers):
        for kind, sublayer in enumerate((view.family.attention, view.family.mlp)):
            module, which = block.get_submodule(sublayer.module), 2 * layer + kind
            module.register_forward_pre_hook(partial(begin, which))
            module.register_forward_hook(partial(end, kind, layer, which))
