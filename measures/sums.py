"""Running sums: add a window, read the mean at the end. Memory does not depend on how many windows are added."""

from collections import defaultdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from measures.vectors import angular_distance


class Means:
    """Means by name, summed in float64 over the first axis of what is added."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = defaultdict(int)

    def add(self, **values: Tensor) -> None:
        """Add tensors of shape (tokens, …)."""
        for name, value in values.items():
            total = value.sum(0, dtype=torch.float64)
            self._sums[name] = self._sums[name].to(total.device) + total if name in self._sums else total
            self._counts[name] += value.shape[0]

    def read(self, name: str, without: "Means | None" = None) -> Tensor:
        """The mean, less what another accumulator has seen of the same tokens."""
        total, count = self._sums[name], self._counts[name]
        if without is not None:
            total, count = total - without._sums[name], count - without._counts[name]
        return (total / count).cpu()

    @property
    def names(self) -> tuple[str, ...]:
        """Of what was added."""
        return tuple(self._sums)

    def state(self) -> dict[str, Any]:
        """The sums and counts by name, for `restore`."""
        return {"sums": {name: total.cpu().numpy() for name, total in self._sums.items()}, "counts": dict(self._counts)}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self._sums = {name: torch.from_numpy(np.array(total, dtype=np.float64)) for name, total in state["sums"].items()}
        self._counts.update({name: int(count) for name, count in state["counts"].items()})


class Spread:
    """Quantiles of cosines over tokens, from a histogram of the angle.

    Equal steps of the angle resolve cosines near 1 finely: one of 8192 bins is 2e-5 wide at 0.999.
    """

    BINS = 8192

    def __init__(self, layers: int, device: torch.device) -> None:
        self._counts = torch.zeros(layers, self.BINS, dtype=torch.int64, device=device)

    def add(self, cosines: Tensor) -> None:
        """Add cosines of shape (tokens, layers)."""
        layers = self._counts.shape[0]
        places = (angular_distance(cosines) * self.BINS).long().clamp(0, self.BINS - 1)
        places += torch.arange(layers, device=places.device) * self.BINS
        one = self._counts.new_ones(()).expand(places.numel())
        self._counts.view(-1).scatter_add_(0, places.flatten(), one)  # bincount makes the host wait, for its length

    def state(self) -> np.ndarray:
        """Counts of shape (layers, bins), for `restore`."""
        return self._counts.cpu().numpy()

    def restore(self, state: np.ndarray) -> None:
        """Go on from a `state`; ValueError if it is that of other layers."""
        if state.shape != self._counts.shape:
            raise ValueError(f"counts of shape {state.shape} do not fit {tuple(self._counts.shape)}")
        self._counts.copy_(torch.from_numpy(state.astype(np.int64)))

    def read(self, levels: tuple[float, ...]) -> Tensor:
        """Quantiles of the cosine, shape (layers, levels), linear within a bin."""
        counts = self._counts.cpu().double()
        ends = counts.cumsum(-1)
        # The largest angle is the smallest cosine, so the 5 % quantile of the cosine is the 95 % one of the angle.
        wanted = torch.tensor([1 - level for level in levels], dtype=torch.float64) * ends[:, -1:]
        places = torch.searchsorted(ends, wanted).clamp_max(self.BINS - 1)
        begun = ends.gather(-1, places) - counts.gather(-1, places)
        inside = ((wanted - begun) / counts.gather(-1, places).clamp_min(1)).clamp(0, 1)
        return ((places + inside) / self.BINS * torch.pi).cos()
