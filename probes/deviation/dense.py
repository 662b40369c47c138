"""The dense side of a comparison, computed once per model and text: what its head reads, window by window."""

from collections.abc import MutableMapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.head import Head, last_states
from models.subject import Subject
from plans.cut import cut

VERSION = 1  # raised when the states change, so that those kept before are not found any more


class DenseSide:
    """Last hidden states of the dense model on some windows, taken from where they are kept or computed and kept there.

    Parameters
    ----------
    tokens : int64 tensor of shape (windows, tokens)
    kept : mutable mapping of str to dict
        Pieces by number of the window; a plain dict keeps them in memory.
    """

    def __init__(self, subject: Subject, tokens: Tensor, kept: MutableMapping[str, dict[str, Any]] | None = None) -> None:
        self._subject, self._tokens = subject, tokens
        self._kept = {} if kept is None else kept
        self._view = None
        self.head = Head(subject)

    def states(self, window: int) -> Tensor:
        """What the head reads of a window: (tokens, width), in the model's dtype and where its head is."""
        return self.batch(window, 1)[0]

    def batch(self, begin: int, count: int) -> Tensor:
        """The `states` of some windows that follow each other: (windows, tokens, width). Those not kept pass together."""
        windows = range(begin, begin + count)
        missing = [window for window in windows if str(window) not in self._kept]
        computed = self._computed(missing) if missing else None
        if len(missing) == count:
            return computed
        parts = [
            computed[missing.index(window)]
            if window in missing
            else _tensor(self._kept[str(window)]["states"], self._subject.dtype).to(self.head.device)
            for window in windows
        ]
        return torch.stack(parts)

    def _computed(self, windows: list[int]) -> Tensor:
        if self._view is None:
            self._view = cut(self._subject)
        found = last_states(self._view, torch.stack([self._tokens[window] for window in windows])).to(self.head.device)
        for window, states in zip(windows, _array(found), strict=True):  # one copy from the device for all of them
            self._kept[str(window)] = {"states": states}
        return found


def _array(states: Tensor) -> np.ndarray:
    """As numpy; two-byte types as uint16, because numpy has no bfloat16."""
    states = states.cpu().contiguous()
    return (states.view(torch.uint16) if states.element_size() == 2 else states).numpy()


def _tensor(array: np.ndarray, dtype: torch.dtype) -> Tensor:
    states = torch.from_numpy(array)
    return states.view(dtype) if states.dtype == torch.uint16 else states
