"""What one more drop costs on top of a plan, for many drops: each window's common beginning is computed once.

This is what a search asks in each round: the KL of P + x for every x that is left, by `damage`.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from measures.chunks import row_chunks
from measures.divergence import Softmax, divergence
from measures.finite import refuse_nonsense
from models.batching import batches, pass_bytes, step_text
from models.head import Head
from models.prefix import Prefix
from models.subject import Subject
from plans.cut import Calibrated, cut, plan_of
from plans.drops import BY_LETTER, dropped
from plans.plan import Plan, parse
from probes.deviation.dense import DenseSide
from refusal import Progress, Refusal, silent

MEASURES = ("kl", "nll", "top1")
OnShare = Callable[[float], None]  # is told the share of a window that is done
_PROJECTED = 2**25  # logits of one side that are there at a time: 128 MB
_COMPARED = 2**21  # of them compared at a time on a CPU: 8 MB stay in its cache
_HELD = 2**28  # bytes of last states that wait for the head


def damage(
    subject: Subject,
    plan: Plan | Calibrated,
    items: Sequence[str],
    tokens: Tensor,
    dense: DenseSide | None = None,
    progress: Progress = silent,
) -> np.ndarray:
    """KL, loss and agreement of a plan, and of the plan with each of some drops on top.

    Parameters
    ----------
    plan : Plan or Calibrated
        What all of them begin with. What it learned stays as it is: nothing is learned again for a drop.
    items : sequence of str
        Drops of one sublayer or block that the plan leaves: ``a3``, ``m12``, ``b20``; see `candidates`.
    tokens : int64 tensor of shape (windows, tokens)
    dense : DenseSide, optional
        The dense model on these tokens; hand in the same one in each round, and it is computed once.

    Returns
    -------
    float64 array of shape (windows, 1 + items, 3)
        The plan itself, then each item; means over the predicted tokens of KL(dense‖without it) in nats, negative
        log-likelihood in nats, and how often the likeliest token is the dense model's.

    Raises
    ------
    Refusal
        An item is not in the view, or logits are not numbers.
    """
    scan = Scan(subject, plan, items, tokens, dense)
    found = []
    for i in range(len(tokens)):
        text = step_text(i, 1, len(tokens))
        found.append(scan.window(i, lambda share, i=i, text=text: progress(i + share, len(tokens), text)))
    return np.stack(found)


def candidates(plan: Plan, layers: int) -> list[str]:
    """Every drop of one sublayer or block that a plan leaves of a model; a block with one sublayer is that sublayer."""
    drops, found = dropped(plan), []
    for i in range(layers):
        left = [letter for letter, gone in (("a", drops.no_attention), ("m", drops.no_mlp)) if i not in gone]
        if len(left) == 2:
            left.append("b")
        found += [f"{letter}{i}" for letter in left]
    return found


class Scan:
    """The same, a window at a time; parameters as in `damage`.

    Attributes
    ----------
    prefix : Prefix
        The plan's view; it holds the states of the window that was measured last.
    pass_bytes : int
        What a pass of one window takes, by which passes are batched.
    """

    def __init__(
        self, subject: Subject, plan: Plan | Calibrated, items: Sequence[str], tokens: Tensor, dense: DenseSide | None = None
    ) -> None:
        self.items = tuple(items)
        self._tokens, self._device = tokens, subject.device
        self._dense = dense or DenseSide(subject, tokens)
        self.prefix = Prefix(cut(subject, plan))
        self._places = self._grouped(plan_of(plan))
        self.pass_bytes = pass_bytes(self.prefix.view, tokens.shape[1])

    def window(self, i: int, on_share: OnShare = lambda share: None) -> np.ndarray:
        """One window: float64 array of shape (1 + items, 3).

        Parameters
        ----------
        on_share : callable
            Is told the share that is done, before each layer.
        """
        on_share(0.0)
        read = self.prefix.read(self._tokens[i])
        reference = Reference(self._dense.head, self._dense.states(i)[:-1], self._tokens[i, 1:])
        found = np.full((1 + len(self.items), len(MEASURES)), np.nan)
        found[0] = reference.measured([read[:-1]])
        refuse_nonsense("With this plan, the model's logits", torch.from_numpy(found[0]))
        waiting: list[tuple[int, Tensor]] = []
        for share, which, end in self._ends():
            on_share(share)
            waiting.append((which, end))
            if len(waiting) * end.numel() * end.element_size() >= _HELD:
                self._settle(reference, waiting, found)
        self._settle(reference, waiting, found)
        return found

    def _ends(self) -> Iterator[tuple[float, int, Tensor]]:
        """What the head would read without each item, (tokens − 1, width), with the share that is done and its place."""
        blocks = len(self.prefix.view.layers)
        for place, wanted in self._places.items():
            # Of the blocks that all places pass together, those that were passed before this one.
            share = 1 - ((blocks - place) / blocks) ** 2
            states = torch.cat([self.prefix.without(place, part).to(self._device) for _, part in wanted])
            for begin, batch in batches(states, self._device, self.pass_bytes):
                ends = self.prefix.finished(self.prefix.continued(place + 1, batch))
                for k, end in enumerate(ends):
                    yield share, wanted[begin + k][0], end[:-1]

    def _settle(self, reference: "Reference", waiting: list[tuple[int, Tensor]], found: np.ndarray) -> None:
        """Measure what waits."""
        if waiting:
            places = [which for which, _ in waiting]
            values = reference.measured([end for _, end in waiting])
            for which, row in zip(places, values, strict=True):
                refuse_nonsense(f"Without {self.items[which]}, the model's logits", torch.from_numpy(row))
                found[1 + which] = row
            waiting.clear()

    def _grouped(self, plan: Plan) -> dict[int, list[tuple[int, str]]]:
        """By place in the view: which items, and their part. A block that has lost one sublayer goes with the other."""
        view, places = self.prefix.view, {}
        for which, item in enumerate(self.items):
            letter, layer = item[:1], item[1:]
            if letter not in BY_LETTER or not layer.isdigit():
                raise Refusal(f"'{item}' does not name one sublayer or block. Write a3, m12 or b20.")
            if int(layer) not in view.blocks or plan | parse(item) == plan:
                raise Refusal(f"'{item}' cannot be dropped: the plan or the model does not have it.")
            places.setdefault(view.blocks.index(int(layer)), []).append((which, BY_LETTER[letter]))
        return dict(sorted(places.items()))


class Reference:
    """The dense model's predictions of one window, against which many others are measured; its softmax is computed once.

    Parameters
    ----------
    dense : tensor of shape (tokens, width)
        What the head reads of the dense model.
    targets : int64 tensor of shape (tokens,)
        The tokens that follow.
    """

    def __init__(self, head: Head, dense: Tensor, targets: Tensor) -> None:
        self._head, self._dense, self._targets = head, dense, targets.to(head.device)
        self._rows = row_chunks(len(targets), head.vocab, _PROJECTED)
        self._kept: list[tuple[slice, Softmax]] = []
        size = _COMPARED if head.device.type == "cpu" else _PROJECTED
        self._parts = max(1, size // head.vocab)  # rows compared at a time
        self._room = torch.empty((2, self._parts, head.vocab), device=head.device)

    @torch.inference_mode()
    def measured(self, ends: Sequence[Tensor]) -> np.ndarray:
        """Means over tokens of KL, loss and agreement, (ends, 3), of what the head reads otherwise; NaN where logits are."""
        sums = torch.zeros(len(ends), len(MEASURES), dtype=torch.float64)
        for rows in self._rows:
            sides, count = self._sides(rows), rows.stop - rows.start
            at_once = max(1, _PROJECTED // (count * self._head.vocab))  # the head's weights are read once for so many ends
            for begin in range(0, len(ends), at_once):
                group = ends[begin : begin + at_once]
                logits = self._head(torch.cat([end[rows].to(self._head.device) for end in group]), reuse=True)
                for k, part in enumerate(logits.split(count), begin):
                    sums[k] += self._compared(sides, part, self._targets[rows]).cpu()
        return (sums / len(self._targets)).numpy()

    def _sides(self, rows: slice) -> list[tuple[slice, Softmax]]:
        """The dense side of some rows in parts; kept where it is all there is."""
        if self._kept:
            return self._kept
        logits = self._head(self._dense[rows])
        sides = [(part, Softmax(logits[part])) for part in row_chunks(*logits.shape, self._parts * self._head.vocab)]
        if len(self._rows) == 1:
            self._kept = sides
        return sides

    def _compared(self, sides: list[tuple[slice, Softmax]], logits: Tensor, targets: Tensor) -> Tensor:
        """Sums over rows of the `MEASURES` of logits (rows, vocab)."""
        total = torch.zeros(len(MEASURES), dtype=torch.float64, device=logits.device)
        for part, p in sides:
            first, second = self._room[:, : len(p.total)]
            q = Softmax(logits[part], first)
            same = q.top == p.top
            total += torch.stack([divergence(p, q, second).sum(), q.nll(targets[part]).sum(), same.sum().double()])
        return total
