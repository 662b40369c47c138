"""Running sums of the states between sublayers: what turns them, by how much, and how alike they are."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from measures.finite import FiniteCheck
from measures.sums import Means, Spread
from measures.vectors import angular_distance, cosine, gram

_CHUNK = 256  # tokens whose states are widened to float64 at a time


class StreamSums:
    """What one pass over a corpus accumulates."""

    def __init__(self, layers: int, device: torch.device, parallel: bool) -> None:
        self.all, self.first, self.last = Means(), Means(), Means()
        self.check = FiniteCheck()
        self.spreads = {part: Spread(layers, device) for part in ("attention", "mlp", "block")}
        self.device, self.parallel = device, parallel
        self._room: dict[tuple[int, ...], Tensor] = {}

    def state(self) -> dict[str, Any]:
        """All sums by name, for `restore`."""
        means = {name: getattr(self, name).state() for name in ("all", "first", "last")}
        return means | {part: spread.state() for part, spread in self.spreads.items()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        for name in ("all", "first", "last"):
            getattr(self, name).restore(state[name])
        for part, spread in self.spreads.items():
            spread.restore(state[part])

    def products(self, *rows: Tensor) -> Tensor:
        """Scalar products of h, a and m of one layer, each (tokens, width), as (tokens, 3, 3)."""
        return gram(self._stack(rows, slice(None)))

    def _stack(self, rows: Sequence[Tensor], part: slice) -> Tensor:
        """Some tokens of tensors (tokens, width), as float64 (some tokens, rows, width).

        The room is used again for the next rows: asking the system for fresh memory costs more than the sums.
        """
        shape = (len(rows[0][part]), len(rows), rows[0].shape[-1])
        if shape not in self._room:
            self._room[shape] = torch.empty(shape, dtype=torch.float64, device=self.device)
        for place, row in enumerate(rows):
            self._room[shape][:, place] = row[part]  # widened, and moved to the device, on the way
        return self._room[shape]

    def add(self, states: list[Tensor], products: list[Tensor]) -> None:
        """Add one window: layers+1 states of shape (tokens, width) and the `products` of each layer."""
        count = states[0].shape[0]
        together = torch.stack(products, 1)
        for begin in range(0, count, _CHUNK):
            part = slice(begin, begin + _CHUNK)
            values = self._measure(self._stack(states, part), together[part])
            self.check.look("The model's hidden states", *values.values())
            self.all.add(**values)
            if begin == 0:
                self.first.add(**{name: value[:1] for name, value in values.items()})
            if begin + _CHUNK >= count:
                self.last.add(angular=values["angular"][-1:])
            for name, spread in self.spreads.items():
                spread.add(values[name])

    def _measure(self, states: Tensor, products: Tensor) -> dict[str, Tensor]:
        """One value per token and layer, from states (tokens, layers+1, width) and products (tokens, layers, 3, 3)."""
        squares = gram(states)
        lengths = squares.diagonal(dim1=-2, dim2=-1)
        cosines = cosine(squares, lengths.unsqueeze(-1), lengths.unsqueeze(-2))
        values = {"cosine": cosines, "angular": angular_distance(cosines)}
        hh, ha, aa, hm, am, mm = (products[..., i, j] for i, j in ((0, 0), (0, 1), (1, 1), (0, 2), (1, 2), (2, 2)))
        into_mlp = (hh, hm) if self.parallel else (hh + 2 * ha + aa, hm + am)
        triples = {"attention": (hh, ha, aa), "mlp": (*into_mlp, mm), "block": (hh, ha + hm, aa + 2 * am + mm)}
        for part, (xx, xc, cc) in triples.items():
            values[part] = cosine(xx + xc, xx, xx + 2 * xc + cc)
            values[f"{part}_norm"] = (cc.clamp_min(0) / xx.clamp_min(1e-12)).sqrt()
            values[f"{part}_turn"] = cosine(xc, xx, cc)
        return values
