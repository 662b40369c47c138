"""Cheap scores of each sublayer and block: what one forward and one backward pass say of it, without dropping anything.

The loss changes by −⟨∂loss/∂c, c⟩ to first order when a contribution c to the residual stream is taken away: that is its
derivative by ε where c is scaled by 1 − ε. The backward pass goes block by block from the end, each block computed anew from
the state that enters it, so the graph of one block is in memory and never that of the model.

References
----------
arXiv 2406.15786 (similarity, relative length), 1611.06440, eq. 7 (first-order estimates of what pruning costs).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from measures.chunks import row_chunks
from measures.precision import at_least_float32, float64_device
from measures.vectors import cosine
from models.families import Sublayer
from models.prefix import Prefix
from models.stream import first, gap, refuse_gap
from models.subject import Subject
from plans.cut import cut
from plans.drops import LETTERS, Drops
from plans.plan import Plan

SCORES = ("similarity", "length", "gradient", "gradient_size")
PARTS = tuple(LETTERS)
_PROJECTED = 2**24  # logits that are there at a time, and twice as many for their gradient


class Loss:
    """The model without its blocks, to differentiate its loss by what leaves the last of them."""

    def __init__(self, subject: Subject) -> None:
        self._view = cut(subject, Plan((Drops(blocks=frozenset(range(subject.layers))),)))
        self._device, self._states = subject.device, torch.empty(0)
        self._view.final_norm.register_forward_pre_hook(lambda norm, args: (self._states,))

    def gradient(self, end: Tensor, targets: Tensor) -> Tensor:
        """∂(mean loss)/∂h, both (1, tokens, width), where h leaves the last block; the last token predicts nothing."""
        gradient = torch.zeros_like(end)
        for rows in row_chunks(len(targets), self._view.head.weight.shape[0], _PROJECTED):
            # Each position is a window of one token, so that none is too long for the model.
            states = end[0, rows, None].detach().to(self._device, copy=True).requires_grad_()
            wanted = targets[rows].to(self._device)
            with torch.enable_grad():
                self._states = states
                logits = self._view.model(input_ids=wanted[:, None], use_cache=False).logits[:, 0]
                loss = nn.functional.cross_entropy(at_least_float32(logits), wanted, reduction="sum") / len(targets)
                gradient[0, rows] = torch.autograd.grad(loss, states)[0][:, 0].to(gradient)
        return gradient


def window_scores(prefix: Prefix, loss: Loss, targets: Tensor) -> np.ndarray:
    """The scores of every block of a view on the window that it read last.

    Parameters
    ----------
    targets : int64 tensor of shape (tokens - 1,)
        The tokens that follow.

    Returns
    -------
    float64 array of shape (4, 3, blocks)
        By `SCORES`, `PARTS` and place in the view. ``similarity`` is the mean of 1 − cos(x, x + c) and ``length`` the mean of
        ‖c‖/‖x + c‖ over tokens, where x is what a part reads and c what it adds; ``gradient`` estimates the change of the mean
        loss in nats, and ``gradient_size`` is the sum of the estimate's sizes at single positions.

    Raises
    ------
    Refusal
        The blocks do not add up, so the family is not understood.
    """
    found = np.zeros((len(SCORES), len(PARTS), len(prefix.view.layers)))
    gaps = []
    after = loss.gradient(prefix.states[-1], targets)
    for place in reversed(range(len(prefix.view.layers))):
        block = _differentiated(prefix, place, after)
        gaps.append(gap(prefix.states[place], block.attention, block.mlp, block.after))
        found[:, :, place] = _scores(prefix, place, block, after)
        after = block.gradient
    if gaps:
        refuse_gap(prefix.view, gaps)
    return found


@dataclass(frozen=True, eq=False)
class _Block:
    """What a block added, and gradients of the loss; all of shape (1, tokens, width).

    ``attention_gradient`` is by the raw output of the module; ``gradient`` by what entered the block.
    """

    attention: Tensor
    mlp: Tensor
    after: Tensor
    attention_gradient: Tensor
    gradient: Tensor


def _differentiated(prefix: Prefix, place: int, after: Tensor) -> _Block:
    """One block again from what entered it, and back."""
    family, block = prefix.view.family, prefix.view.layers[place]
    factor = family.factor(prefix.view.dense_config)
    states = prefix.states[place].detach().clone().requires_grad_()
    with torch.enable_grad(), _nudged(block, family.attention) as attention, _nudged(block, family.mlp) as mlp:
        out = prefix.called(place, states)
        wanted = torch.autograd.grad(out, (states, attention.nudge), after.to(out.device), materialize_grads=True)
    added = [each.added.detach().reshape(states.shape) * factor for each in (attention, mlp)]
    return _Block(*added, out.detach(), wanted[1].reshape(states.shape) / factor, wanted[0])


class _Nudged:
    """What a sublayer adds, and a zero that is added to it, by which one can differentiate."""

    added: Tensor
    nudge: Tensor


@contextmanager
def _nudged(block: nn.Module, sublayer: Sublayer) -> Iterator[_Nudged]:
    held = _Nudged()

    def hook(module: nn.Module, args: tuple, output: Any) -> Any:
        out = first(output)
        held.added = out - args[1] if sublayer.takes_residual else out
        held.nudge = torch.zeros_like(out, requires_grad=True)
        nudged = out + held.nudge  # a tensor of its own, so a block that adds in place leaves ``added`` alone
        return (nudged, *output[1:]) if isinstance(output, tuple) else nudged

    taken = block.get_submodule(sublayer.addend or sublayer.module).register_forward_hook(hook)
    try:
        yield held
    finally:
        taken.remove()


def _scores(prefix: Prefix, place: int, block: _Block, after: Tensor) -> np.ndarray:
    """(4, 3): `SCORES` by `PARTS`."""
    before, attention, mlp, at_attention, at_end = (
        each[0].to(float64_device(each.device)).double()
        for each in (prefix.states[place], block.attention, block.mlp, block.attention_gradient, after.to(block.mlp.device))
    )
    into_mlp = before if prefix.view.family.parallel else before + attention
    parts = (
        (before, attention, at_attention),
        (into_mlp, mlp, at_end),
        (before, attention + mlp, at_end),
    )
    return torch.stack([_score(*part) for part in parts], dim=-1).cpu().numpy()


def _score(x: Tensor, c: Tensor, gradient: Tensor) -> Tensor:
    """One value per score from float64 tensors of shape (tokens, width)."""
    after = x + c
    dots = [(one * other).sum(-1) for one, other in ((x, after), (x, x), (after, after), (c, c), (gradient, c))]
    turned = 1 - cosine(*dots[:3]).mean()
    length = (dots[3] / dots[2].clamp_min(1e-12)).sqrt().mean()
    return torch.stack([turned, length, -dots[4].sum(), dots[4].abs().sum()])
