"""Pure maths on tensors, in float64 unless a docstring says otherwise."""

import math

import torch
from torch import Tensor

EPS = 1e-8  # below this length a vector has no direction: its cosine is 0, as in torch


def cosine(product: Tensor, first_square: Tensor, second_square: Tensor) -> Tensor:
    """cos(x, y) from the scalar products ⟨x,y⟩, ⟨x,x⟩ and ⟨y,y⟩; 0 where one of them is zero."""
    return product / (first_square * second_square).clamp_min(0).sqrt().clamp_min(EPS)


def angular_distance(cosines: Tensor) -> Tensor:
    """arccos(cosine)/π, from 0 (same direction) over 1/2 (orthogonal) to 1 (opposite); arXiv 2403.17887, eq. 7.

    In float64 the floor at equal vectors is 5e-9; float32 would give 1e-4 and bfloat16 3e-2.
    """
    return cosines.double().clamp(-1, 1).arccos() / math.pi


def gram(states: Tensor) -> Tensor:
    """Scalar products of all states of a token: (tokens, states, width) → (tokens, states, states)."""
    wide = states.double()
    return wide @ wide.transpose(-1, -2)


def cosine_of(x: Tensor, y: Tensor) -> Tensor:
    """cos(x, y) along the last axis, products in float32 or wider, sums in float64."""
    x, y = (t.float() if t.dtype in (torch.bfloat16, torch.float16) else t for t in (x, y))
    xy, xx, yy = ((a * b).sum(-1, dtype=torch.float64) for a, b in ((x, y), (x, x), (y, y)))
    return cosine(xy, xx, yy)


def top_overlap(p: Tensor, q: Tensor, k: int) -> Tensor:
    """|top-k of p ∩ top-k of q| / k along the last axis."""
    top_p, top_q = p.topk(k, dim=-1).indices, q.topk(k, dim=-1).indices
    return (top_p.unsqueeze(-1) == top_q.unsqueeze(-2)).any(-1).double().mean(-1)


def top(values: Tensor, count: int) -> Tensor:
    """Places of the largest values of each row, the largest first; of equal ones at the front, the lowest place.

    Returns
    -------
    int64 tensor of shape (rows, count or fewer)
    """
    found = values.topk(min(count, values.shape[-1]), dim=-1)
    first = torch.where(found.values == found.values[:, :1], found.indices, values.shape[-1]).amin(-1, keepdim=True)
    # The one that stood first takes the place of the one that now does, so that each place is there once.
    rest = torch.where(found.indices == first, found.indices[:, :1], found.indices)
    return torch.cat([first, rest[:, 1:]], dim=-1)
