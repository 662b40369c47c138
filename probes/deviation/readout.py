"""Reading a view where it matters: the last hidden state and the logits of chosen positions only.

The head is by far the widest map of a small model, and a vocabulary of 150,000 tokens times a long prompt fills the memory.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from measures.finite import refuse_nonsense
from measures.precision import at_least_float32, float64_device
from models.head import widen
from models.view import View


class Readout:
    """A view whose head sees only the positions asked for.

    The hook stays on the view, which is private to its caller; what does not come through here sees every position.

    Parameters
    ----------
    view : View
    name : str
        What the view is called in a refusal: ``dense`` or ``pruned``.
    """

    def __init__(self, view: View, name: str) -> None:
        self.view, self.name = view, name
        self._wanted: Tensor | None = None
        self._hidden: Tensor | None = None
        widen(view)  # a difference of half-precision logits is mostly rounding
        view.head.register_forward_pre_hook(self._select)

    def __call__(self, tokens: Tensor, wanted: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Hidden states and logits at some positions of a batch of texts.

        Parameters
        ----------
        tokens : int64 tensor of shape (windows, tokens)
            Padded at the right where needed: no position looks at what follows it.
        wanted : sequence of int
            The positions, counted row by row through all windows. Known to the host, so that nobody waits to learn how many.

        Returns
        -------
        tensors of shape (positions, width) and (positions, vocab), float32 or wider
            The hidden state is what the head reads, after the final norm; the logits are scaled and capped as the model
            does it.

        Raises
        ------
        Refusal
            Some of it is not a number.
        """
        self._wanted = torch.tensor(wanted)
        logits = _wide(self.view.logits(tokens)[0])
        hidden, self._hidden, self._wanted = _wide(self._hidden), None, None
        refuse_nonsense(f"The {self.name} model's logits", logits, hidden)
        return hidden, logits

    def _select(self, head: nn.Module, args: tuple[Tensor]) -> tuple[Tensor] | None:
        if self._wanted is None:
            return None
        self._hidden = args[0].flatten(0, 1)[self._wanted.to(args[0].device)]
        return (self._hidden[None],)


def _wide(values: Tensor) -> Tensor:
    """In float32 or wider, where float64 works as well: Apple's GPUs have none."""
    return at_least_float32(values.to(float64_device(values.device)))
