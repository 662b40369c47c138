"""One pass through a view, kept, so that passes which begin alike begin where they part.

A pass without the attention of layer 20 is the pass of the whole view up to layer 20. So the state that enters each block is
kept for one window, and whoever wants to know what a change at a block does lets a changed state go on from there. Blocks are
called with the very arguments that the model gave them (positions, masks, biases), so nothing of a family is done again here.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from measures.finite import refuse_nonsense
from measures.precision import ROUNDING
from models.removal import stubbed
from models.stream import first
from models.view import View
from refusal import Refusal

_Arguments = tuple[tuple, dict[str, Any], bool]  # of a block beside its states; whether these are named
Visit = Callable[[int, Tensor, Tensor], None]  # visit(place, before, after), tensors of shape (batch, tokens, width)


class Prefix:
    """Passes over one window at a time.

    Parameters
    ----------
    view : View
        Private to this object from now on: it is hooked.

    Attributes
    ----------
    states : list of tensors of shape (1, tokens, width)
        What enters each block of the view, and last what leaves the last one, in the model's dtype; of the window read last.
    """

    def __init__(self, view: View) -> None:
        self.view = view
        self.states: list[Tensor] = []
        self._window = torch.empty(0, dtype=torch.int64)
        self._arguments: dict[int, list[_Arguments]] = {}
        self._entered: list[tuple[Tensor, _Arguments]] | None = None  # while a pass is noted
        self._left: list[Tensor] = []
        self._proved = False
        for block in view.layers:
            block.register_forward_pre_hook(self._note_call, with_kwargs=True)
        view.final_norm.register_forward_pre_hook(self._note_end)

    @torch.no_grad()  # and not inference_mode: what is kept may be differentiated later
    def read(self, window: Tensor) -> Tensor:
        """Let a window of token ids, (tokens,), pass and keep its states.

        Returns
        -------
        tensor of shape (tokens, width)
            What the head reads of it.

        Raises
        ------
        Refusal
            The family does something between its last block and its head that `finished` would not do.
        """
        if window.shape != self._window.shape:
            self._arguments = {}
        self._window = window
        self.states, self._arguments[1], read = self._pass(window[None])
        if not self._proved:
            self._prove(read)
        return read[0]

    @torch.no_grad()
    def continued(self, place: int, states: Tensor, visit: Visit | None = None) -> Tensor:
        """Let states that enter the block at ``place`` go on to the end.

        Parameters
        ----------
        place : int
            Of a block in the view, from 0; as many as there are blocks: the states are at the end already.
        states : tensor of shape (batch, tokens, width)
            Variants of the window read last.
        visit : callable, optional
            Is called after each block.

        Returns
        -------
        tensor of shape (batch, tokens, width)
            What leaves the last block.
        """
        for i in range(place, len(self.view.layers)):
            before, states = states, self.called(i, states)
            if visit is not None:
                visit(i, before, states)
        return states

    @torch.no_grad()
    def without(self, place: int, part: str) -> Tensor:
        """What leaves the block at ``place`` without its ``attention``, its ``mlp`` or both (``block``): (1, tokens, width).

        Without the whole block that is what entered it, so nothing is computed.
        """
        if part == "block":
            return self.states[place]
        with stubbed(self.view.layers[place], getattr(self.view.family, part)):
            return self.called(place, self.states[place])

    @torch.no_grad()
    def finished(self, states: Tensor) -> Tensor:
        """What the head reads, from what leaves the last block; shapes as they are."""
        return self.view.final_norm(states)

    def called(self, place: int, states: Tensor) -> Tensor:
        """What the block at ``place`` makes of states (batch, tokens, width), called as the model calls it."""
        args, kwargs, named = self._arguments_for(len(states))[place]
        block = self.view.layers[place]
        return first(block(*args, hidden_states=states, **kwargs) if named else block(states, *args, **kwargs))

    def _arguments_for(self, batch: int) -> list[_Arguments]:
        """What the model gives its blocks beside the states of so many windows.

        It depends on their shape alone, as there is no padding; but BLOOM's biases, say, are laid out for one batch size.
        """
        if batch not in self._arguments:
            with torch.no_grad():
                _, self._arguments[batch], _ = self._pass(self._window.expand(batch, -1))
        return self._arguments[batch]

    def _pass(self, tokens: Tensor) -> tuple[list[Tensor], list[_Arguments], Tensor]:
        """One pass of the whole view: the states between its blocks, their other arguments, and what the head would read."""
        read: list[Tensor] = []

        def stop(head: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
            read.append(args[0])
            return (args[0][:, :0],)  # no logits are computed

        taken = self.view.head.register_forward_pre_hook(stop)
        self._entered, self._left = [], []
        try:
            self.view.model(input_ids=tokens, use_cache=False)
            states = [hidden for hidden, _ in self._entered] + self._left
            return states, [arguments for _, arguments in self._entered], read[0]
        finally:
            self._entered, self._left = None, []
            taken.remove()

    def _prove(self, read: Tensor) -> None:
        refuse_nonsense("The model's last hidden states", read)
        found = self.finished(self.states[-1])
        apart = ((found - read).abs().max() / read.abs().max().clamp_min(1e-12)).item()
        if not apart <= ROUNDING[read.dtype]:
            raise Refusal(
                f"The last hidden state of this {self.view.family.name} does not give what its head reads: they are "
                f"{apart:.1e} apart. How it gets there is not understood, so no pass could be continued."
            )
        self._proved = True

    def _note_call(self, block: nn.Module, args: tuple, kwargs: dict) -> None:
        if self._entered is None:
            return
        if args:
            self._entered.append((args[0], (args[1:], kwargs, False)))
        else:
            others = {name: value for name, value in kwargs.items() if name != "hidden_states"}
            self._entered.append((kwargs["hidden_states"], ((), others, True)))

    def _note_end(self, norm: nn.Module, args: tuple) -> None:
        if self._entered is not None:
            self._left.append(args[0])
