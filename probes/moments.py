"""Running sums: add a window, read the mean at the end. Memory does not depend on how many windows are added."""

from collections import defaultdict
from collections.abc import Iterator

import torch
from torch import Tensor

from models import Refusal
from models.covariance import Moments
from models.keys import widened
from probes.measures import angular_distance


class Means:
    """Means by name, summed in float64 over the first axis of what is added."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = defaultdict(int)

    def add(self, **values: Tensor) -> None:
        """Add tensors of shape (tokens, …)."""
        for name, value in values.items():
            total = value.sum(0, dtype=torch.float64)
            self._sums[name] = self._sums[name] + total if name in self._sums else total
            self._counts[name] += value.shape[0]

    def read(self, name: str, without: "Means | None" = None) -> Tensor:
        """The mean, less what another accumulator has seen of the same tokens."""
        total, count = self._sums[name], self._counts[name]
        if without is not None:
            total, count = total - without._sums[name], count - without._counts[name]
        return (total / count).cpu()


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
        self._counts += torch.bincount(places.flatten(), minlength=layers * self.BINS).view(layers, self.BINS)

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


class KeySums:
    """Moments of keys, values and queries: ``kinds[name][layer]``, position 0 of the keys in ``kinds["first"]``.

    Keys are summed in two parts, the first ``middle`` tokens and the others, so that how stable they are costs no second
    pass; `finish` adds them up.
    """

    KINDS = ("pre", "post", "value", "query")

    def __init__(self, middle: int) -> None:
        self.kinds: dict[str, dict[int, Moments]] = {name: {} for name in (*self.KINDS, "first")}
        self.halves: dict[str, list[dict[int, Moments]]] = {"pre": [{}, {}], "post": [{}, {}]}
        self.rotary: dict[int, bool] = {}
        self.middle, self.seen = middle, 0
        self._room: dict[tuple[int, ...], Tensor] = {}
        self._shape: tuple[torch.Size, ...] = ()

    def add(self, layer: int, states: dict[str, Tensor]) -> None:
        """Add what `watch_keys` shows of one window, before ``seen`` grows by it."""
        self._check(states)
        self.rotary[layer] = self.rotary.get(layer, False) or not torch.equal(states["pre"], states["post"])
        for name in ("value", "query"):
            _of(self.kinds[name], layer).add(widened(states[name], self._room))
        for name, halves in self.halves.items():
            keys = widened(states[name], self._room)
            left = min(max(self.middle - self.seen, 0), keys.shape[1])  # so many belong to the first half
            for half, part in zip(halves, (keys[:, :left], keys[:, left:]), strict=True):
                if part.shape[1]:
                    _of(half, layer).add(part)
            if name == "post":
                _of(self.kinds["first"], layer).add(keys[:, :1])

    def finish(self) -> None:
        """Add the halves up."""
        for name, (one, other) in self.halves.items():
            self.kinds[name] = {layer: one[layer] + other[layer] for layer in one}

    def everything(self) -> Iterator[Moments]:
        """All moments there are."""
        for kind in (*self.kinds.values(), *self.halves["pre"], *self.halves["post"]):
            yield from kind.values()

    def _check(self, states: dict[str, Tensor]) -> None:
        shape = tuple(states[name].shape[1:] for name in self.KINDS)
        if self._shape and shape != self._shape:
            raise Refusal(
                "The layers of this model differ in their number of heads or in the dimension of a head, so they do not fit "
                "one table of layers × heads. Choose a model whose layers are alike."
            )
        if shape[0][-1] == 1:
            raise Refusal("The keys of this model have one dimension: there is nothing to rank. Choose one with wider heads.")
        self._shape = shape


def _of(sums: dict[int, Moments], layer: int) -> Moments:
    return sums.setdefault(layer, Moments())
