"""The streams that a plan is judged by: with and without one sublayer, or with it pruned, and those of the whole plan.

Of a block with input h, attention a and MLP m the pairs (dense stream, modified stream) are

- one after the other: attention (h + a, h), MLP (h + a + m, h + a): right after the sublayer, as in arXiv 2603.24652;
- in parallel: attention (h + a + m, h + m), MLP (h + a + m, h + a): there is no stream between them, so it is taken where
  both have been added.

A pruned sublayer is not left out but replaced: its a′ or m′ is what it makes of the *dense* stream, norms included.
"""

from typing import Any

import torch
from torch import Tensor, nn

from measures.precision import at_least_float32
from models.batching import pass_bytes
from models.stream import gap, refuse_gap, watch
from models.subject import Subject
from models.view import View
from plans.cut import Calibrated, cut, plan_of
from plans.drops import dropped
from plans.plan import Plan
from plans.weights import Weights

Pair = tuple[str, int, int, int]  # part, layer or depth, and where the dense and the modified stream are among the states

_ORDER = ("cumulative", "attention", "mlp")


def states_bytes(layers: int, length: int, width: int) -> int:
    """Memory for the streams of a window, all of whose tokens are looked at: at most five for each layer, in float32."""
    return 4 * (5 * layers + 2) * length * width


class Streams:
    """Reads windows with the dense model, each pruned sublayer alone, and the whole plan.

    Attributes
    ----------
    mode : str
        ``pruned`` where the plan prunes weights, else ``dropped``; what the plan drops is left out in both.
    """

    def __init__(self, subject: Subject, plan: Plan | Calibrated, last: bool) -> None:
        self._last, self._family, self._plan = last, subject.family, plan_of(plan)
        self._width, self._device = (
            subject.width,
            subject.device,
        )  # a model that is split leaves each block's stream where the block is
        self._dense = cut(subject)
        self._whole = cut(subject, plan) if self._plan else None
        self._drops = dropped(self._plan)
        self.mode = "pruned" if self._plan.of(Weights) else "dropped"
        self._gaps: list[Tensor] | None = []  # the first batch proves that the family is understood
        self._states: list[Tensor] = []
        self._pairs: list[Pair] = []
        self._stream: list[int] = []  # where the dense streams between blocks are among the states
        if isinstance(plan, Calibrated) and self._plan.of(Weights):
            self._alone = _Alone(self._dense, cut(subject, plan.alone(Weights.name)))
        else:
            self._alone = None
        watch(self._dense, self._visit)
        if self._whole:
            self._through: dict[int, int] = {}
            watch(self._whole, self._visit_whole)

    def read(self, batch: Tensor) -> tuple[list[Tensor], list[Pair], Tensor]:
        """Read some windows together.

        Parameters
        ----------
        batch : int64 tensor of shape (windows, tokens)

        Returns
        -------
        list of tensors of shape (windows or windows · tokens, width), in float32 or wider
            Each stream once, though several pairs look at it.
        list of Pair
            In an order in which neighbours share streams; the same for every batch.
        tensor of shape (windows, vocab)
            The dense model's logits at the last token of each.

        Raises
        ------
        Refusal
            The dense model's blocks do not add up.
        """
        self._states, self._pairs, self._stream = [], [], []
        logits = self._dense.logits(batch, last=True)[:, 0]
        if self._gaps is not None:
            refuse_gap(self._dense, self._gaps)
            self._gaps = None
        self._add_whole(batch)
        pairs = sorted(self._pairs, key=lambda pair: (pair[1], _ORDER.index(pair[0])))
        return self._states, pairs, logits

    @property
    def end(self) -> int:
        """Where the stream before the final norm is among the states."""
        return self._stream[-1]

    def window_bytes(self, length: int) -> int:
        """Memory that one window of so many tokens takes until its batch is through."""
        work = max(pass_bytes(view, length) for view in (self._dense, self._whole) if view)
        return work if self._last else max(work, states_bytes(len(self._dense.blocks), length, self._width))

    def _visit(self, place: int, *parts: Tensor) -> None:
        if self._gaps is not None:
            self._gaps.append(gap(*parts))
        replaced = self._alone.parts(place) if self._alone else {"attention": None, "mlp": None}
        if place == 0:
            self._stream.append(self._add(self._select(parts[0])))
        # In half precision the stream is rounded after each addend, which can be more than a small addend is: Δ must be
        # what the sublayer adds, so the end is summed up here, and is not the next block's rounded input.
        exact = parts[3].dtype in (torch.float32, torch.float64)
        attention, mlp, after = (self._select(part) for part in parts[1:])
        before = self._states[self._stream[-1]]
        start, middle = self._stream[-1], before + attention
        self._stream.append(self._add(after))
        end = self._stream[-1] if exact else self._add(middle + mlp)
        change = {
            "attention": None if place in self._drops.no_attention else replaced["attention"],
            "mlp": None if place in self._drops.no_mlp else replaced["mlp"],
        }
        if self._family.parallel:
            rests = {"attention": before + mlp, "mlp": middle}
            pairs = {part: (end, self._changed(self._add(rest), change[part])) for part, rest in rests.items()}
        else:
            between = self._add(middle)
            pairs = {
                "attention": (between, self._changed(start, change["attention"])),
                "mlp": (end, self._changed(between, change["mlp"])),
            }
        self._pairs += [(part, place, *pair) for part, pair in pairs.items()]

    def _changed(self, rest: int, addend: Tensor | None) -> int:
        """Where the stream is that has ``addend`` in place of the sublayer's own; None: nothing."""
        return rest if addend is None else self._add(self._states[rest] + self._select(addend))

    def _visit_whole(self, place: int, before: Tensor, attention: Tensor, mlp: Tensor, after: Tensor) -> None:
        self._through[self._whole.blocks[place]] = self._add(self._select(after))

    def _add_whole(self, batch: Tensor) -> None:
        """The dense stream against that of the whole plan at each depth; a block that is gone hands its input on."""
        if self._whole is None:
            self._pairs += [("cumulative", depth, state, state) for depth, state in enumerate(self._stream)]
            return
        self._through.clear()
        self._whole.logits(batch, last=True)
        reached = self._stream[0]
        for depth, state in enumerate(self._stream):
            reached = self._through.get(depth - 1, reached)
            self._pairs.append(("cumulative", depth, state, reached))

    def _select(self, part: Tensor) -> Tensor:
        """(windows, tokens, width) → (positions, width), widened; last rows are copied, or they would keep all of them."""
        rows = part[:, -1].clone() if self._last else part.flatten(0, 1)
        return at_least_float32(rows.to(self._device))

    def _add(self, state: Tensor) -> int:
        self._states.append(state)
        return len(self._states) - 1


class _Alone:
    """A pruned view whose blocks are called with what the dense ones are called with.

    Its attention's output is noted and then replaced by the dense one, so its MLP reads the dense stream as well.
    """

    def __init__(self, dense: View, pruned: View) -> None:
        self._pruned = pruned
        self._called: tuple[tuple, dict] = ((), {})
        self._output: Any = None
        self._found: dict[str, Tensor] = {}
        name = dense.family.attention.addend or dense.family.attention.module
        for block in dense.layers:
            block.register_forward_pre_hook(self._note_call, with_kwargs=True)
            block.get_submodule(name).register_forward_hook(self._note_output)
        watch(pruned, self._note_parts)
        for block in pruned.layers:  # after `watch`, which must see what the pruned attention makes
            block.get_submodule(name).register_forward_hook(lambda module, args, output: self._output)

    def parts(self, place: int) -> dict[str, Tensor]:
        """What the pruned attention and MLP of a layer add, right after its dense block was called."""
        args, kwargs = self._called
        self._pruned.layers[place](*args, **kwargs)
        return self._found

    def _note_call(self, block: nn.Module, args: tuple, kwargs: dict) -> None:
        self._called = (args, kwargs)

    def _note_output(self, module: nn.Module, args: tuple, output: Any) -> None:
        self._output = output

    def _note_parts(self, place: int, before: Tensor, attention: Tensor, mlp: Tensor, after: Tensor) -> None:
        self._found = {"attention": attention, "mlp": mlp}
