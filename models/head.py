"""The way from the last hidden state to the logits, apart from the blocks.

What the head reads (after the final norm) is tokens × width numbers, the logits are tokens × vocab: so the states are what is
kept of a model's predictions, and one projection gives the logits again, exactly as the model makes them.
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from models.removal import removed
from models.subject import Subject
from models.view import View, shared

_ROWS = 2**13  # rows of a half-precision head that are widened at a time


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
    """The model without its blocks: head, scaling and soft-cap as the family does them.

    Parameters
    ----------
    wide : bool
        Logits in float32 where the model computes in half precision; the states then have to be `widen`ed ones.
    """

    def __init__(self, subject: Subject, wide: bool = False) -> None:
        view = shared(subject.model, subject.family)
        self._view = removed(view, frozenset(), frozenset(), frozenset(view.blocks))
        self._device, self._states = subject.device, torch.empty(0)
        self._room: Tensor | None = None
        self._reuses = False
        if wide:
            widen(self._view)
        elif _plain(self._view.head):
            _compute(self._view.head, self._product)
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
    def __call__(self, states: Tensor, reuse: bool = False) -> Tensor:
        """Logits of states.

        Parameters
        ----------
        states : tensor of shape (tokens, width)
            As `last_states` gives them.
        reuse : bool
            The next call with this may overwrite the logits of this one: fresh memory costs a fifth of the product.

        Returns
        -------
        tensor of shape (tokens, vocab), in the model's dtype
        """
        self._states = states[:, None]  # each is a window of one token, so that many of them are not too long for the model
        self._reuses = reuse
        return blockless(self._view, len(states), self._device)

    def _product(self, states: Tensor) -> Tensor:
        head = self._view.head
        if not self._reuses:
            return nn.functional.linear(states, head.weight, head.bias)
        rows = states.flatten(0, -2)
        if self._room is None or len(self._room) < len(rows):
            self._room = rows.new_empty(len(rows), len(head.weight))
        out = self._room[: len(rows)]
        if head.bias is None:
            torch.mm(rows, head.weight.mT, out=out)
        else:
            torch.addmm(head.bias, rows, head.weight.mT, out=out)
        return out.view(*states.shape[:-1], -1)


def _plain(head: nn.Module) -> bool:
    """Whether a head is a product with plain numbers and nothing else: not packed, and its module not a family's own."""
    return type(head) is nn.Linear and type(head.weight) in (Tensor, nn.Parameter) and head.weight.is_floating_point()


def blockless(view: View, windows: int, device: torch.device) -> Tensor:
    """Logits of shape (windows, vocab) of a view without blocks, from one token a window; hooks put in what it reads.

    Without a cache, transformers asks the device whether windows are packed, and the host waits; an empty one costs nothing.
    """
    return view.logits(torch.zeros(windows, 1, dtype=torch.int64, device=device), DynamicCache())[:, 0]


def widen(view: View) -> None:
    """Let the final norm and the head of a private view compute in float32, if the model computes in half precision."""
    if view.model.dtype in (torch.bfloat16, torch.float16):
        _compute(view.final_norm, _wide_norm(view.final_norm))
        _compute(view.head, _wide_head(view.head))


def _compute(module: nn.Module, how: Callable[[Tensor], Tensor]) -> None:
    """Let a private module compute in another way. Where accelerate brings the weights, it still does, around that."""
    setattr(module, "_old_forward" if hasattr(module, "_old_forward") else "forward", how)


def _wide_norm(norm: nn.Module) -> Callable[[Tensor], Tensor]:
    def forward(states: Tensor) -> Tensor:
        wide = copy.copy(norm)
        wide._parameters = {name: weight if weight is None else weight.float() for name, weight in norm._parameters.items()}
        return type(norm).forward(wide, states.float())

    return forward


def _wide_head(head: nn.Module) -> Callable[[Tensor], Tensor]:
    def forward(states: Tensor) -> Tensor:
        weight, bias = head.weight, getattr(head, "bias", None)
        logits = states.new_empty(*states.shape[:-1], len(weight), dtype=torch.float32)
        for begin in range(0, len(weight), _ROWS):
            part = slice(begin, begin + _ROWS)
            logits[..., part] = states.float() @ weight[part].float().mT
        return logits if bias is None else logits + bias.float()

    return forward
