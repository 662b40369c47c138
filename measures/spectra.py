"""What eigenvalues of a covariance say about how many dimensions are used. Pure maths, float64, over the last axis."""

import torch
from torch import Tensor

_ROUNDING = 1e-12  # a cumulative sum of ratios may end a little below 1


def ratios(values: Tensor) -> Tensor:
    """Eigenvalues, falling, none below 0 → their shares of the sum; zeros where nothing varies."""
    total = values.sum(-1, keepdim=True)
    return torch.where(total > 0, values / total.clamp_min(torch.finfo(values.dtype).tiny), 0.0)


def rank_at(shares: Tensor, level: float) -> Tensor:
    """The fewest leading shares whose sum reaches ``level``: int64, 0 where nothing varies.

    Notes
    -----
    arXiv 2406.02542 prints the index at which the sum passes the level, one less.
    """
    below = (shares.cumsum(-1) < level - _ROUNDING).sum(-1)
    return torch.where(shares[..., 0] > 0, (below + 1).clamp_max(shares.shape[-1]), 0)


def effective_rank(shares: Tensor) -> Tensor:
    """exp of the entropy of the shares: from 1 (one dimension) to all of them; 0 where nothing varies.

    References
    ----------
    Roy and Vetterli, The effective rank, EUSIPCO 2007.
    """
    return torch.where(shares[..., 0] > 0, torch.special.entr(shares).sum(-1).exp(), 0.0)


def participation_ratio(shares: Tensor) -> Tensor:
    """1/Σ share²: as the effective rank, with less weight on small shares; 0 where nothing varies."""
    squares = shares.square().sum(-1)
    return torch.where(squares > 0, 1 / squares.clamp_min(torch.finfo(shares.dtype).tiny), 0.0)


def subspace_overlap(one: Tensor, other: Tensor, rank: Tensor) -> Tensor:
    """Mean squared cosine of the principal angles between two leading subspaces.

    Parameters
    ----------
    one, other : float64 tensors of shape (heads, width, width)
        Orthonormal rows, the leading ones first.
    rank : int64 tensor of shape (heads,)
        So many rows of both span the subspaces.

    Returns
    -------
    float64 tensor of shape (heads,)
        1: the same subspace (as two empty ones are); rank / width is what random subspaces give on average.
    """
    leading = torch.arange(one.shape[-1]) < rank.unsqueeze(-1)
    squares = (one @ other.mT).square() * leading.unsqueeze(-1) * leading.unsqueeze(-2)
    return torch.where(rank > 0, squares.sum((-1, -2)) / rank.clamp_min(1), 1.0)


def lowest(means: list[float]) -> list[int]:
    """Places by rising value, ties by place."""
    return sorted(range(len(means)), key=lambda place: (means[place], place))


def mean_and_spread(layers: Tensor) -> tuple[float, float]:
    """Mean and standard deviation, dividing by the count."""
    return layers.mean().item(), layers.std(correction=0).item()
