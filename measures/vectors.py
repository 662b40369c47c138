"""Pure maths on tensors, in float64 unless a docstring says otherwise."""

import math

import torch
from torch import Tensor

_BLOCK = 512  # values whose maximum is looked at first
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


def largest(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The largest values of each row and their places, the largest first; of equal ones at the front, the lowest place.

    Of long rows only the blocks with the largest maxima are sorted, which is several times as fast as ``topk``.

    Returns
    -------
    two tensors of shape (rows, count or fewer), the places int64
    """
    count, blocks = min(count, values.shape[-1]), values.shape[-1] // _BLOCK
    if blocks <= 2 * count:
        found, places = values.topk(count, dim=-1)
        first = _lowest_place(values == found[:, :1])
    else:
        whole, rest = values[:, : blocks * _BLOCK].unflatten(-1, (blocks, _BLOCK)), values[:, blocks * _BLOCK :]
        maxima = whole.amax(-1)
        found, places = _from_blocks(whole, rest, maxima, count)
        first = _first(whole, rest, maxima, found[:, :1])
    # The one that stood first takes the place of the one that now does, so that each place is there once.
    others = torch.where(places == first, places[:, :1], places)
    return found, torch.cat([first, others[:, 1:]], dim=-1)


def _from_blocks(whole: Tensor, rest: Tensor, maxima: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The largest values of rows that are cut into blocks, (rows, blocks, block), and a rest; and their places."""
    blocks = whole.shape[1]
    best = maxima.topk(count, dim=-1).indices.sort(dim=-1).values
    inside = whole.gather(1, best[:, :, None].expand(-1, -1, _BLOCK)).flatten(1)
    places = (best[:, :, None] * _BLOCK + torch.arange(_BLOCK, device=whole.device)).flatten(1)
    beyond = blocks * _BLOCK + torch.arange(rest.shape[-1], device=whole.device).expand(len(whole), -1)
    found = torch.cat([inside, rest], -1).topk(count, dim=-1)
    return found.values, torch.cat([places, beyond], -1).gather(-1, found.indices)


def _first(whole: Tensor, rest: Tensor, maxima: Tensor, wanted: Tensor) -> Tensor:
    """The lowest place of each row that holds its largest value, ``wanted``; (rows, 1)."""
    blocks = whole.shape[1]
    block = _lowest_place(maxima == wanted).clamp_max(blocks - 1)
    inside = whole.gather(1, block[:, :, None].expand(-1, -1, _BLOCK)).flatten(1)
    place = _lowest_place(inside == wanted)
    beyond = blocks * _BLOCK + _lowest_place(rest == wanted)
    return torch.where(place < _BLOCK, block * _BLOCK + place, beyond)


def _lowest_place(there: Tensor) -> Tensor:
    """The lowest true place of each row, or the length of the row; (rows, n) → (rows, 1)."""
    length = there.shape[-1]
    if not length:
        return there.new_zeros(len(there), 1, dtype=torch.int64)
    places = torch.arange(length, device=there.device)
    return torch.where(there, places, length).amin(-1, keepdim=True)
