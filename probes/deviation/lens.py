"""The logits that a residual stream would give if the model ended there (the logit lens), and those of the bare head.

The lens is the model itself without its blocks, with the stream put in before the final norm. So whatever a family does on
the way to its logits is done: the norm, the head, Cohere's and Granite's scaling, Gemma 2's soft-cap.
"""

import torch
from torch import Tensor

from measures.precision import ROUNDING, at_least_float32
from models.head import blockless, widen
from models.subject import Subject
from plans.cut import cut
from plans.drops import Drops
from plans.plan import Plan
from refusal import Refusal


class Lens:
    """From states of shape (positions, width) to logits of shape (positions, vocab), in float32 or wider.

    A model in half precision is computed in float32 here, because a difference of bfloat16 logits is mostly rounding. Its
    head is widened piece by piece, so it never lies in memory twice.
    """

    def __init__(self, subject: Subject) -> None:
        view = cut(subject, Plan((Drops(blocks=frozenset(range(subject.layers))),)))
        self._view, self._device, self._states = view, subject.device, torch.empty(0)
        self.vocab = view.head.weight.shape[0]
        view.final_norm.register_forward_pre_hook(lambda norm, args: (self._states,))
        widen(view)

    @torch.inference_mode()
    def __call__(self, states: Tensor, norm: bool = True) -> Tensor:
        """Logits of the whole model, or of the head alone: no norm, no scaling, no soft-cap."""
        states = at_least_float32(states.to(self._device))
        if not norm:
            return self._view.head(states)
        self._states = states[:, None]  # each position is a window of one token, so that none is too long for the model
        return blockless(self._view, len(states), self._device)

    def check(self, states: Tensor, logits: Tensor) -> float:
        """Prove that the last states of the model give its own logits.

        Returns
        -------
        float
            The largest difference over the largest logit.

        Raises
        ------
        Refusal
            They do not: how this family gets to its logits is not understood.
        """
        found = self(states)
        apart = ((found - logits.to(found)).abs().max() / logits.abs().max().clamp_min(1e-12)).item()
        if not apart <= ROUNDING[logits.dtype]:  # the model's own: the lens computes in float32 where it does not
            raise Refusal(
                f"The last hidden state of this {self._view.family.name} does not give its logits: they are {apart:.1e} "
                "apart. PruneScope does not know how they are made, so any deviation would be wrong."
            )
        return apart
