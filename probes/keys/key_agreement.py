"""How well low-rank scores choose keys, measured inside attentions that go on computing what they always did."""

import torch
from torch import Tensor

from measures.sums import Means
from models.attention import Attend
from plans.keys.choice import best, components, exact_scores, key_counts, low_rank_scores, most_keys, narrowed, visible


def overlap(chosen: Tensor, ideal: Tensor) -> tuple[Tensor, Tensor]:
    """Recall |A ∩ B| / |B| and Jaccard |A ∩ B| / |A ∪ B| of sets given as bool along the last axis, B being ``ideal``.

    Loki's own code calls its recall a Jaccard, because the union it takes is of B with itself.
    """
    both, either = (chosen & ideal).sum(-1).double(), (chosen | ideal).sum(-1).double()
    return both / ideal.sum(-1), both / either


def captured(weights: Tensor, chosen: Tensor) -> Tensor:
    """Share of softmax weights that falls on the chosen keys; what a sink takes is on no key and does not count."""
    return (weights * chosen).sum(-1, dtype=torch.float64) / weights.sum(-1, dtype=torch.float64)


def relative_error(output: Tensor, approximate: Tensor) -> Tensor:
    """‖o − ô‖ / ‖o‖ of all heads together: (windows, tokens, heads, head_dim) → (windows, tokens).

    Together, because that is what the next projection reads: a head that says next to nothing would rule a mean of ratios.
    """
    exact, other = (each.flatten(2).double() for each in (output, approximate))
    return (exact - other).norm(dim=-1) / exact.norm(dim=-1).clamp_min(1e-12)


class Agreement:
    """A rule for `plans.keys.choice.attend_by` that changes nothing and keeps the means of one attention.

    Rows from ⌊top · tokens⌋ on are counted, as in Loki's evaluation, and at least the last one. With ``whole`` earlier rows see
    too few keys to choose among: they attend to all of them. Without it they choose too, and are left out to compare alike.

    Attributes
    ----------
    shape : tuple of int
        Query heads, key heads and head dimension, once something was seen.
    """

    def __init__(self, dims: list[float], top: list[float], basis: Tensor, whole: bool = False) -> None:
        self._dims, self._top, self._basis, self._whole = dims, top, basis, whole
        self._means = [Means() for _ in top]
        self.shape = (0, 0, 0)

    def __call__(self, attend: Attend, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        output, weights = attend(query, key, value, mask)
        self.shape = (query.shape[1], key.shape[1], key.shape[3])
        seen, exact = visible(mask, query, key), exact_scores(query, key)
        low = [low_rank_scores(query, key, self._basis, components(share, key.shape[3])) for share in self._dims]
        for top, means in zip(self._top, self._means, strict=True):
            begin = min(int(top * query.shape[2]), query.shape[2] - 1)
            late = (seen[:, :, begin:], key_counts(seen[:, :, begin:], top, self._whole), most_keys(key.shape[2], top))
            ideal = best(exact[:, :, begin:], *late)
            for place, scores in enumerate(low):
                chosen = best(scores[:, :, begin:], *late)
                shown = narrowed(None if mask is None else mask[:, :, begin:], chosen, query.dtype)
                other, _ = attend(query[:, :, begin:], key, value, shown)
                recall, jaccard = (each.mean(1).flatten() for each in overlap(chosen, ideal))
                mass = captured(weights[:, :, begin:], chosen).mean(1).flatten()
                error = relative_error(output[:, begin:], other).flatten()
                found = {"recall": recall, "jaccard": jaccard, "mass": mass, "error": error}
                means.add(**{f"{name} {place}": values for name, values in found.items()})
            means.add(mass_exact=captured(weights[:, :, begin:], ideal).mean(1).flatten())
        return output, weights

    def read(self, name: str) -> Tensor:
        """``recall``, ``jaccard``, ``mass`` or ``error`` of shape (dims, top), or ``mass_exact`` of shape (top,)."""
        if name == "mass_exact":
            return torch.stack([means.read(name) for means in self._means])
        grid = [[means.read(f"{name} {place}") for means in self._means] for place in range(len(self._dims))]
        return torch.stack([torch.stack(row) for row in grid])
