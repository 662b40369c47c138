"""Attention that looks at some keys only, on a private view: Loki's rule (arXiv 2406.02542, Algorithm 1) and its baselines.

Every query row scores its visible keys in the first directions of a calibrated basis, takes the best of them, and attends
exactly to these. The rule chooses keys by masking the others and leaves the attention itself to the family's own code, so that
scaling, soft-cap, sinks and sliding window stay what they are. Masking saves no time: it shows what the approximation does to
the model, not how fast a kernel would be.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from measures.precision import at_least_float32
from models.attention import Attend, attend_by
from models.view import View
from plans.keys.shares import LowRank
from refusal import Refusal

METHODS = ("loki", "exact", "random", "last", "pca")
_ROUNDING = 1e-9  # 0.29 · 100 is 28.999999999999996 in floating point, and 29 keys are meant


def switch_on(
    view: View,
    basis: dict[int, Tensor],
    dims: float,
    top: float,
    method: str = "loki",
    *,
    seeds: Sequence[int] = (0,),
    whole: bool = False,
) -> None:
    """From now on every attention of this view chooses its keys; calling it again replaces the rule.

    Parameters
    ----------
    view : View
        Private to the caller; the dense model and other views never notice.
    basis : dict of int to tensor of shape (kv_heads, head_dim, head_dim)
        By dense layer index, rows by falling eigenvalue of the post-rotary keys (`models.keys.key_basis`). Only ``loki`` and
        ``pca`` read it.
    dims : float
        Share of the head dimension that keys are scored in, see `components`.
    top : float
        Share of the visible keys attended to, see `key_counts`.
    method : str
        How keys are chosen: ``loki`` by low-rank scores, ``exact`` by exact scores, ``random``, ``last`` the most recent.
        ``pca`` chooses none: it is softmax over the low-rank scores of all keys (PCAAttn in the paper).
    seeds : sequence of int
        For ``random``: one for all windows, or one for each window of every pass. It draws anew in each forward pass, so
        decoding does not repeat what the full forward drew.
    whole : bool
        Count keys as Loki's own code does: k = top · all keys, for every row. There a row attends to more of what it sees the
        earlier it is; by default k = top · the keys that the row sees, so that cached decoding equals the full forward.

    Raises
    ------
    Refusal
        A share is not in (0, 1], the basis is another model's, or the family's attention cannot be replaced.
    """
    if method not in METHODS:
        raise Refusal(f"There is no way '{method}' to choose keys. Choose one of: {', '.join(METHODS)}.")
    shares = LowRank(dims, top)
    if method in ("loki", "pca") and (missing := [layer for layer in view.attentions if layer not in basis]):
        raise Refusal(f"The directions of the keys of layer {missing[0]} are missing. Calibrate the plan on this model again.")
    draws = tuple(torch.Generator().manual_seed(seed) for seed in seeds)
    attend_by(view, {i: KeyChoice(shares, method, basis.get(i), whole, draws) for i in view.attentions})


@dataclass(frozen=True, eq=False)
class KeyChoice:
    """A rule that attends to the best keys of each query row, by scores of one of `METHODS`."""

    shares: LowRank
    method: str = "loki"
    basis: Tensor | None = None
    whole: bool = False
    draws: tuple[torch.Generator, ...] = field(default_factory=lambda: (torch.Generator(),))

    def __call__(self, attend: Attend, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        if self.method == "pca":
            _check_basis(self.basis, key)
            return attend(projected(query, self.basis, components(self.shares.dims, key.shape[-1])), key, value, mask)
        seen = visible(mask, query, key)
        counts = key_counts(seen, self.shares.top, self.whole)
        chosen = best(self.scores(query, key), seen, counts, most_keys(key.shape[2], self.shares.top))
        return attend(query, key, value, narrowed(mask, chosen, query.dtype))

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        """What the keys are ranked by, of shape (windows, heads, queries, keys)."""
        if self.method == "loki":
            return low_rank_scores(query, key, self.basis, components(self.shares.dims, key.shape[-1]))
        if self.method == "exact":
            return exact_scores(query, key)
        shape = (*query.shape[:3], key.shape[2])
        if self.method == "last":
            return torch.arange(shape[3], dtype=torch.float32, device=query.device).expand(shape)
        each = shape[0] // len(self.draws)  # windows that one generator draws for
        return torch.cat([torch.rand((each, *shape[1:]), generator=dice) for dice in self.draws]).to(query.device)


def components(dims: float, head_dim: int) -> int:
    """How many directions a share of the head dimension is: max(1, ⌊dims · head_dim⌋), rounded down as keys are."""
    return max(1, int(dims * head_dim + _ROUNDING))


def key_counts(seen: Tensor, top: float, whole: bool = False) -> Tensor:
    """How many keys each row attends to: max(1, ⌊top · S⌋) of the S keys it sees, or with ``whole`` of all keys there are.

    Parameters
    ----------
    seen : bool tensor of shape (..., queries, keys)

    Returns
    -------
    int64 tensor of shape (..., queries, 1)
        At least 1: with none of them the softmax would be over nothing, which is NaN in Loki's own code.
    """
    counts = torch.full_like(seen[..., :1], seen.shape[-1], dtype=torch.int64) if whole else seen.sum(-1, keepdim=True)
    return (counts.double() * top + _ROUNDING).long().clamp_min(1)


def most_keys(keys: int, top: float) -> int:
    """The most that `key_counts` gives where rows see up to so many keys: known without asking the device."""
    return max(1, int(keys * top + _ROUNDING))


def exact_scores(query: Tensor, key: Tensor) -> Tensor:
    """⟨q, k⟩/√head_dim in float32 or wider: (windows, heads, queries, head_dim) → (windows, heads, queries, keys).

    A family's own scaling and soft-cap would not change the order of keys.
    """
    query, key = map(at_least_float32, (query, key))
    grouped = query.reshape(query.shape[0], key.shape[1], -1, query.shape[-1])  # query heads that share a key head
    scores = grouped @ key.transpose(-1, -2) * key.shape[-1] ** -0.5
    return scores.reshape(*query.shape[:3], key.shape[2])


def low_rank_scores(query: Tensor, key: Tensor, basis: Tensor, rank: int) -> Tensor:
    """⟨P q, P k⟩/√head_dim with P the first ``rank`` rows of the key head's basis; shapes as in `exact_scores`.

    The mean of the keys is not taken off: it would shift all scores of a row alike.
    """
    _check_basis(basis, key)
    query, key = map(at_least_float32, (query, key))
    down = basis[:, :rank].to(key).transpose(-1, -2)
    grouped = query.reshape(query.shape[0], key.shape[1], -1, query.shape[-1])
    scores = (grouped @ down) @ (key @ down).transpose(-1, -2) * key.shape[-1] ** -0.5
    return scores.reshape(*query.shape[:3], key.shape[2])


def projected(query: Tensor, basis: Tensor, rank: int) -> Tensor:
    """PᵀP q: its exact scores with the keys are their low-rank scores, as ⟨PᵀP q, k⟩ = ⟨P q, P k⟩."""
    rows = basis[:, :rank].to(at_least_float32(query))
    grouped = query.to(rows.dtype).reshape(query.shape[0], len(basis), -1, query.shape[-1])
    return (grouped @ rows.transpose(-1, -2) @ rows).reshape(query.shape).to(query.dtype)


def visible(mask: Tensor | None, query: Tensor, key: Tensor) -> Tensor:
    """Which keys a row may see, of shape (windows or 1, 1, queries, keys); without a mask all, as attention takes it."""
    if mask is None:
        return query.new_ones((1, 1, query.shape[2], key.shape[2]), dtype=torch.bool)
    return mask > torch.finfo(mask.dtype).min


def best(scores: Tensor, seen: Tensor, counts: Tensor, most: int) -> Tensor:
    """The keys with the highest scores among those a row sees.

    Parameters
    ----------
    scores : tensor of shape (windows, heads, queries, keys)
    seen : bool tensor, broadcast to ``scores``
    counts : int64 tensor of shape (..., queries, 1)
        How many of each row; where it sees fewer, all it sees.
    most : int
        None of the counts is larger; see `most_keys`.

    Returns
    -------
    bool tensor of shape (windows, heads, queries, keys)
    """
    most = min(most, scores.shape[-1])
    order = scores.masked_fill(~seen, -torch.inf).topk(most, dim=-1).indices
    kept = torch.arange(most, device=scores.device) < counts
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(-1, order, kept.expand(order.shape)) & seen


def narrowed(mask: Tensor | None, chosen: Tensor, dtype: torch.dtype) -> Tensor:
    """The additive mask that shows the chosen keys only."""
    shown = torch.zeros((), dtype=dtype, device=chosen.device) if mask is None else mask
    return torch.where(chosen, shown, torch.finfo(dtype).min)


def _check_basis(basis: Tensor, key: Tensor) -> None:
    if tuple(basis.shape) != (key.shape[1], key.shape[3], key.shape[3]):
        raise Refusal(
            f"The directions of the keys have shape {tuple(basis.shape)}, but this attention has {key.shape[1]} key heads of "
            f"{key.shape[3]} dimensions. Calibrate on this model."
        )
