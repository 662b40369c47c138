"""The way from the last hidden state to the logits, apart from the blocks.

What the head reads (after the final norm) is tokens × width numbers, the logits are tokens × vocab: so the states are what is
kept of a model's predictions, and one projection gives the logits again, exactly as the model makes them.
"""

import torch
from torch import Tensor, nn

from models.removal import removed
from models.subject import Subject
from models.view import View, shared


@torch.inference_mode()
def last_states(view: View, tokens: Tensor) -> Tensor:
    """What the head of a private view reads.

    Parameters
    ----------
    tokens : int64 tensor of shape (windows, tokens)

    Returns
    -------
    tensor of shape (windows, tokens, width), in the model's dtype
        After the final norm; no logits are computed.
    """
    held: list[Tensor] = []

    def hook(head: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
        held.append(args[0])
        return (args[0][:, :0],)

    taken = view.head.register_forward_pre_hook(hook)
    try:
        view.logits(tokens)
    finally:
        taken.remove()
    return held[0]


class Head:
    """The model without its blocks: head, scaling and soft-cap as the family does them."""

    def __init__(self, subject: Subject) -> None:
        view = shared(subject.model, subject.family)
        self._view = removed(view, frozenset(), frozenset(), frozenset(view.blocks))
        self._device, self._states = subject.device, torch.empty(0)
        self._view.head.register_forward_pre_hook(lambda head, args: (self._states,))

    @property
    def device(self) -> torch.device:
        """Where states have to be."""
        return self._device

    @property
    def vocab(self) -> int:
        """Number of logits."""
        return self._view.head.weight.shape[0]

    @torch.inference_mode()
    def __call__(self, states: Tensor) -> Tensor:
        """Logits of shape (tokens, vocab) in the model's dtype, from states of shape (tokens, width) as `last_states` gives."""
        self._states = states[None]
        return self._view.logits(torch.zeros(1, len(states), dtype=torch.int64, device=self._device))[0]
