"""What pruning has to know of the inputs of linear maps: sums over tokens, never the inputs themselves."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from measures.finite import refuse_nonsense
from measures.precision import at_least_float32, float64_device
from models.families import STACKED, between
from models.linears import Linear

_CHUNK = 256  # tokens whose products are summed in float32, which is several times as fast


def squares(rows: Tensor) -> Tensor:
    """Σx² over tokens, float64 of shape (in,), of inputs (tokens, in)."""
    squared = at_least_float32(rows).square()
    return squared.sum(0).cpu().double() if rows.device.type == "mps" else squared.sum(0, dtype=torch.float64)


def products(rows: Tensor) -> Tensor:
    """Σxxᵀ over tokens, float64 of shape (in, in), of inputs (tokens, in)."""
    total = torch.zeros(2 * rows.shape[-1:], dtype=torch.float64, device=float64_device(rows.device))
    for part in rows.split(_CHUNK):
        part = at_least_float32(part)
        total += (part.T @ part).to(total.device)
    return total


class Inputs:
    """Sums over the inputs of one block's linear maps.

    Attributes
    ----------
    latest : str
        The linear map that was called last.
    """

    def __init__(self, sums: Callable[[Tensor], Tensor]) -> None:
        self.latest = ""
        self._sums = sums
        self._totals: dict[tuple[str, int], Tensor] = {}
        self._same: dict[str, str] = {}
        self._held: tuple[str, Tensor | None] = ("", None)

    def of(self, name: str, expert: int = 0) -> Tensor | None:
        """The sums of one linear map; None if nothing came to it.

        Raises
        ------
        Refusal
            The inputs were not numbers.
        """
        total = self._totals.get((self._same.get(name, name), expert))
        if total is not None:
            refuse_nonsense("The model's hidden states", total)
        return total

    def watch(self, linear: Linear, then: Callable[[str], None]) -> RemovableHandle | None:
        """Sum what a linear map is given from now on, and call ``then`` with its name each time."""

        def plain(module: nn.Module, args: tuple) -> None:
            self._add_shared(linear.name, args[0])
            self.latest = linear.name
            then(linear.name)

        def routed(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
            for expert, key, rows in _routed(module, *(*args, *kwargs.values())[:2]):
                self._add(f"{stem}.{key}", expert, rows)
            self.latest = linear.name
            then(linear.name)

        stem, _, kind = linear.name.rpartition(".")
        if not linear.stacked:
            return linear.module.register_forward_pre_hook(plain)
        if kind == STACKED[1]:  # one hook serves both weights of the experts
            return linear.module.register_forward_pre_hook(routed, with_kwargs=True)
        return None

    def _add_shared(self, name: str, inputs: Tensor) -> None:
        held, tensor = self._held
        if inputs is tensor:  # queries, keys and values read one tensor, and so do gate and up
            self._same[name] = held
            return
        self._held = (name, inputs)
        self._add(name, 0, inputs.reshape(-1, inputs.shape[-1]))

    def _add(self, name: str, expert: int, rows: Tensor) -> None:
        total = self._sums(rows)
        if (name, expert) in self._totals:
            self._totals[name, expert] += total
        else:
            self._totals[name, expert] = total


def _routed(experts: nn.Module, hidden: Tensor, chosen: Tensor) -> Iterator[tuple[int, str, Tensor]]:
    """``(expert, parameter, inputs)`` for both maps of every expert that tokens are sent to."""
    hidden = hidden.reshape(-1, hidden.shape[-1])
    chosen = chosen.reshape(len(hidden), -1)
    for expert in chosen.unique().tolist():
        rows = hidden[(chosen == expert).any(-1)]
        yield expert, STACKED[0], rows
        yield expert, STACKED[1], between(experts, expert, rows)
