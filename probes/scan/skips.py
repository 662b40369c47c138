"""What skipping one layer does to what every later layer adds, on the tokens that were skipped and on those after them.

References
----------
arXiv 2505.13898 (Do language models use their depth efficiently?): effects of a skip on later layers, depth score.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from measures.precision import at_least_float32
from models.batching import batches
from models.prefix import Prefix

MODES = ("current", "future")
_LEAST = 1e-6  # lengths are divided by at least this much
_STEP, _END = 8, 4  # splits are multiples of 8 that leave 4 tokens, as in the paper's code


def split_points(length: int, count: int, seed: int) -> list[int]:
    """Where a window is split into tokens that skip a layer and later ones that look back at them.

    Parameters
    ----------
    length : int
        Tokens in the window.
    count : int
        How many points; fewer where the window has not as many.

    Returns
    -------
    list of int
        Rising, from 8, 16, … that leave at least 4 tokens behind them; in a window too short for that its middle, if at least
        one token can be skipped.
    """
    possible = list(range(_STEP, length - _END, _STEP)) or ([length // 2] if length >= 4 else [])
    return sorted(np.random.default_rng(seed).permutation(possible)[:count].tolist())


def skip_effects(
    prefix: Prefix, splits: list[int], window_bytes: int, on_share: Callable[[float], None] = lambda share: None
) -> np.ndarray:
    """How much each skipped block changes what each later block adds, in the window that a prefix read last.

    With c_l what block l adds and c̄_l what it adds after block s was skipped, the largest ‖c_l − c̄_l‖ / ‖c_l‖ over positions.
    Position 0 is never skipped.

    Parameters
    ----------
    splits : list of int
        Of the future mode: tokens before such a position skip the block, those from it on are measured; the largest counts.
    window_bytes : int
        What a pass of one window takes, by which passes are batched.

    Returns
    -------
    float64 array of shape (2, blocks, blocks)
        By `MODES`, skipped block and measured block; 0 below the diagonal, NaN where a mode has no tokens to measure.
    """
    blocks, length = len(prefix.view.layers), prefix.states[0].shape[1]
    positions = torch.arange(length)
    spans = [(positions >= 1, positions >= 0)] + [((positions >= 1) & (positions < t), positions >= t) for t in splits]
    skipped, measured = (torch.stack(each)[..., None] for each in zip(*spans, strict=True))
    found = np.zeros((2, blocks, blocks))
    if not splits:
        found[1] = math.nan
    for place in range(blocks):
        on_share(1 - ((blocks - place) / blocks) ** 2)
        before, after = prefix.states[place], prefix.states[place + 1]
        entering = torch.where(skipped.to(after.device), before.to(after.device), after)
        for begin, batch in batches(entering, after.device, window_bytes):
            effects = np.stack(_effects(prefix, place, batch, measured[begin : begin + len(batch)]), axis=-1)  # (batch, later)
            for k, row in enumerate(effects, begin):
                mode = found[min(k, 1), place, place:]
                np.maximum(mode, row, out=mode)
    return found


def _effects(prefix: Prefix, place: int, entering: Tensor, measured: Tensor) -> list[np.ndarray]:
    """Of variants that enter the block after ``place``: the largest change of each block from ``place`` on, (batch,) each."""
    found = [_change(prefix, place, prefix.states[place], entering, measured)]
    prefix.continued(place + 1, entering, lambda at, *states: found.append(_change(prefix, at, *states, measured)))
    return [each.cpu().numpy() for each in torch.stack(found)]


def _change(prefix: Prefix, place: int, before: Tensor, after: Tensor, measured: Tensor) -> Tensor:
    """The largest ‖c − c̄‖ / ‖c‖ of a block over measured positions, float64 (batch,)."""
    states = prefix.states[place], prefix.states[place + 1], before, after
    usual, usual_after, before, after = (at_least_float32(each.to(after.device)) for each in states)
    contribution = usual_after - usual
    apart = (contribution - (after - before)).norm(dim=-1) / contribution.norm(dim=-1).clamp_min(_LEAST)
    return apart.double().where(measured[..., 0].to(apart.device), 0).amax(-1)


def depth_score(effects: np.ndarray) -> float:
    """At which layer, on average, skips still matter to later ones: Σ s·e_s / Σ e_s, counted from 0.

    e_s is the sum of row s of the effects over max(L − 1 − s, 1). NaN where no skip has an effect.

    Parameters
    ----------
    effects : float64 array of shape (layers, layers)
        Of one window: skipped by measured layer.
    """
    layers = len(effects)
    sizes = effects.sum(1) / np.maximum(layers - 1 - np.arange(layers), 1)
    return float(np.arange(layers) @ sizes / sizes.sum()) if sizes.sum() > 0 else math.nan
