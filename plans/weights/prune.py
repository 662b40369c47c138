"""Pruning the linear maps of a view: block by block, each on what the already pruned blocks before it hand on.

One forward pass of the first batch of windows (on a CPU, of the first window) is held at each block in turn. There the other
batches run through the block as well, the inputs of its linear maps are summed, its weights are replaced, and the pruned block
lets all of them go on. So every block is called as its model calls it, with its own mask and positions, and no block runs more
than twice.

References
----------
Wanda, arXiv 2306.11695; SparseGPT, arXiv 2301.00774: the sequential procedure of both.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from measures.finite import refuse_nonsense
from models.batching import batches, pass_bytes
from models.linears import Linear, linears
from models.stream import first
from models.view import View
from plans.operation import Keep, Pieces
from plans.weights.inputs import Inputs, products, squares
from plans.weights.masks import magnitude_mask, sparsegpt, wanda_mask
from plans.weights.packed import pack, put
from plans.weights.room import check
from plans.weights.sparsity import Sparsity
from refusal import Progress, silent


def prune(view: View, tokens: Tensor, sparsity: Sparsity, known: Pieces, keep: Keep, progress: Progress = silent) -> None:
    """Prune the linear maps of a view, block by block.

    Parameters
    ----------
    view : View
        Private; its modules are given other weights for a while, and those of the dense model are never written to.
    tokens : int64 tensor of shape (windows, tokens)
        What Wanda and SparseGPT calibrate on; magnitude does not look at it.
    known : Pieces
        Blocks that were pruned before, by dense layer index as text: they only let the windows pass.
    keep : callable
        Is given each block as it is done: its dense layer index as text, and `plans.weights.packed.pack` of its weights.

    Raises
    ------
    Refusal
        There is nothing to prune, M does not divide the inputs, states are not numbers, weights are offloaded or
        quantised, or the sums do not fit the memory.

    Notes
    -----
    Holds the pruned weights of one block, one hidden state of (tokens, width) for each window in the model's dtype, and the
    sums of one block: (in,) for each of its inputs, for SparseGPT (in, in) in float64.
    """
    found = [linears(block, view.family, sparsity.modules) for block in view.layers]
    check(view, found, sparsity)
    work = _Pruning(view, found, sparsity, known, keep, progress)
    if not work.missing:
        return
    with torch.no_grad():
        if sparsity.method == "magnitude":
            work.by_weights()
        else:
            work.by_inputs(tokens)


class _EnoughError(Exception):
    """Ends a forward pass of which everything needed is known."""


class _Pruning:
    """Blocks pruned in order, and the hidden states of all windows, batch by batch, on their way through them."""

    def __init__(
        self, view: View, found: list[list[Linear]], sparsity: Sparsity, known: Pieces, keep: Keep, progress: Progress
    ) -> None:
        self.view, self.found, self.sparsity = view, found, sparsity
        self.known, self.keep, self.progress = known, keep, progress
        self.states: list[Tensor] = []
        self._dense: list[Tensor] = []  # weights of the block that the first batch is in
        # Places of the blocks that are still to be pruned; no block after the last of them has to run.
        self.missing = [place for place, inside in enumerate(found) if inside and self._piece(place) not in known]

    def _piece(self, place: int) -> str:
        return str(self.view.blocks[place])

    def by_weights(self) -> None:
        """Prune without running the model."""
        for place in self.missing:
            dense = [linear.weight for linear in self.found[place]]
            self._replace(place, Inputs(squares), 0.0, 1.0)
            self._put_back(place, dense)

    def by_inputs(self, tokens: Tensor) -> None:
        """Prune with the sums over what each linear map is given."""
        tokens = tokens.to(self.view.device)
        # Of equal size, because a block is called with all batches as the model calls it with the first one.
        parts = batches(tokens, tokens.device, pass_bytes(self.view, tokens.shape[1]), equal=True)
        inputs = [batch for _, batch in parts]
        self.states = [self._entering(batch) for batch in inputs]
        taken = []
        for place, block in enumerate(self.view.layers):
            taken.append(block.register_forward_pre_hook(self._at(place), with_kwargs=True))
            taken.append(block.register_forward_hook(self._after(place)))
        try:
            self._forward(inputs[0])
        finally:
            for hook in taken:
                hook.remove()

    def _entering(self, batch: Tensor) -> Tensor:
        """What the first block is given, of shape (windows, tokens, width)."""
        held: list[Tensor] = []

        def hook(module: nn.Module, args: tuple, kwargs: dict) -> None:
            held.append(_split(args, kwargs)[0])
            raise _EnoughError

        taken = self.view.layers[0].register_forward_pre_hook(hook, with_kwargs=True)
        self._forward(batch)
        taken.remove()
        return held[0]

    def _forward(self, batch: Tensor) -> None:
        try:
            self.view.model(input_ids=batch, use_cache=False)
        except _EnoughError:
            return

    def _at(self, place: int) -> Callable:
        """The hook that prunes a block before the first batch enters it."""

        def hook(block: nn.Module, args: tuple, kwargs: dict) -> None:
            self.states[0], more, named = _split(args, kwargs)

            def call(batch: int) -> Tensor:
                # Not block(…), which would come back to this hook.
                return first(block.forward(self.states[batch], *more, **named))

            dense = [linear.weight for linear in self.found[place]]
            if place in self.missing:
                self._replace(place, self._collected(place, call), 0.5, 0.6)
            elif self.found[place]:
                put(self.found[place], self.known[self._piece(place)], self.view.blocks[place])
            if place == self.missing[-1]:
                self._put_back(place, dense)
                raise _EnoughError
            self._pass_on(place, call)
            self._dense = dense

        return hook

    def _after(self, place: int) -> Callable:
        """The hook that gives a block its dense weights back when the first batch has left it."""

        def hook(block: nn.Module, args: tuple, output: Any) -> None:
            self._put_back(place, self._dense)

        return hook

    def _pass_on(self, place: int, call: Callable[[int], Tensor]) -> None:
        """Let the other batches through; the first one goes on by itself."""
        for batch in range(1, len(self.states)):
            self._tell(place, 0.6 + 0.4 * batch / len(self.states))
            self.states[batch] = call(batch)

    def _put_back(self, place: int, dense: list[Tensor]) -> None:
        """Give a block its dense weights again: the pruned ones are kept, and need no place in memory."""
        for linear, weight in zip(self.found[place], dense, strict=True):
            linear.put_weight(weight)

    def _collected(self, place: int, call: Callable[[int], Tensor]) -> Inputs:
        """Run a block on every batch, as far as its last linear map, and sum what they are given."""
        inputs, last = Inputs(squares if self.sparsity.method == "wanda" else products), ""

        def stop(name: str) -> None:
            if name == last:
                raise _EnoughError

        taken = [hook for linear in self.found[place] if (hook := inputs.watch(linear, stop))]
        for batch in range(len(self.states)):
            self._tell(place, 0.5 * batch / len(self.states))
            try:
                call(batch)
                last = inputs.latest  # the first batch goes to the end, and tells which is the last one
            except _EnoughError:
                continue
        for hook in taken:
            hook.remove()
        return inputs

    def _replace(self, place: int, inputs: Inputs, begin: float, end: float) -> None:
        """Give the linear maps of a block their pruned weights."""
        inside = self.found[place]
        for count, linear in enumerate(inside):
            self._tell(place, begin + (end - begin) * count / len(inside))
            name = f"{self.view.family.layers}.{self.view.blocks[place]}.{linear.name}"
            linear.put(_pruned(linear, name, inputs, self.sparsity))
        weights = {linear.name: linear.weight.data for linear in inside}
        self.keep(self._piece(place), pack(weights, values=self.sparsity.method == "sparsegpt"))

    def _tell(self, place: int, part: float) -> None:
        self.progress(place + part, len(self.found), f"pruning layer {self.view.blocks[place]}")


def _split(args: tuple, kwargs: dict) -> tuple[Tensor, tuple, dict[str, Any]]:
    """A block's call: hidden states, other positional arguments, named ones."""
    if args:
        return args[0], args[1:], kwargs
    return kwargs["hidden_states"], (), {key: value for key, value in kwargs.items() if key != "hidden_states"}


def _pruned(linear: Linear, name: str, inputs: Inputs, sparsity: Sparsity) -> Tensor:
    """Its matrices with the pruned weights at zero."""
    matrices = linear.matrices
    refuse_nonsense(f"The weights of {name}", matrices, so="they cannot be pruned")
    done = torch.empty_like(matrices, memory_format=torch.contiguous_format)
    for expert, matrix in enumerate(matrices):
        total = inputs.of(linear.name, expert)
        if sparsity.method == "sparsegpt" and total is not None:
            done[expert] = sparsegpt(matrix, total, sparsity)
        else:
            done[expert] = matrix.masked_fill(_mask(matrix, total, sparsity), 0.0)
    return done


def _mask(matrix: Tensor, total: Tensor | None, sparsity: Sparsity) -> Tensor:
    if sparsity.method != "wanda":
        return magnitude_mask(matrix, sparsity)
    # All inputs of an expert that no token came to count the same: zeros would rank its weights by place.
    return wanda_mask(matrix, torch.ones(matrix.shape[1]) if total is None else total, sparsity)
