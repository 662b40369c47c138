"""Plans that were measured, window by window: each is kept under model and text, and is never measured twice.

An interrupted search finds all it had measured, and so does another search with other strategies or another budget.
"""

import hashlib
from collections.abc import MutableMapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from measures.finite import refuse_nonsense
from models.head import last_states
from models.subject import Subject
from models.view import View
from plans.cut import cut
from plans.drops import dropped
from plans.plan import Plan, parse
from probes.deviation.dense import DenseSide
from probes.scan.damage import MEASURES, Reference, Scan
from refusal import Progress, silent

_AT_ONCE = 16  # views whose last states wait for the head


class Measured:
    """KL, loss and agreement of plans on windows of a text.

    Parameters
    ----------
    tokens : int64 tensor of shape (windows, tokens)
    kept : mutable mapping of str to dict, optional
        Where rows are kept; a plain dict keeps them in memory.

    Attributes
    ----------
    passes : float
        Forward passes over one window that what was asked so far needs; one that shares its beginning counts for the blocks
        after it. Those that were kept count too.
    """

    def __init__(
        self,
        subject: Subject,
        tokens: Tensor,
        dense: DenseSide | None = None,
        kept: MutableMapping[str, dict[str, Any]] | None = None,
    ) -> None:
        self._subject, self._tokens = subject, tokens
        self._dense = dense or DenseSide(subject, tokens)
        self._kept = {} if kept is None else kept
        self._rows: dict[tuple[str, int], np.ndarray] = {}
        self._counted: set[tuple[str, int]] = set()
        self.passes = 0.0
        for name in self._kept:
            piece = self._kept[name]
            for plan, row in zip(piece["plans"], piece["rows"], strict=True):
                self._rows[plan, piece["window"]] = row

    @property
    def plans(self) -> int:
        """How many plans are known on some window."""
        return len({plan for plan, _ in self._rows})

    def of(self, plans: Sequence[Plan], windows: Sequence[int], progress: Progress = silent) -> np.ndarray:
        """Whole plans, float64 (plans, windows, 3) by `MEASURES`; those that are not known yet are measured now."""
        for plan in dict.fromkeys(plans):
            self._count([str(plan)], windows, [1 - len(dropped(plan).blocks) / self._subject.layers])
        unknown = [plan for plan in dict.fromkeys(plans) if any((str(plan), window) not in self._rows for window in windows)]
        for begin in range(0, len(unknown), _AT_ONCE):
            progress(begin, len(unknown), f"plan {begin + 1} of {len(unknown)}")
            views = {str(plan): cut(self._subject, plan) for plan in unknown[begin : begin + _AT_ONCE]}
            for window in windows:
                missing = [name for name in views if (name, window) not in self._rows]
                if missing:
                    self._keep(window, missing, self._measure({name: views[name] for name in missing}, window))
        return self._read([str(plan) for plan in plans], windows)

    def with_each(self, plan: Plan, items: Sequence[str], windows: Sequence[int], progress: Progress = silent) -> np.ndarray:
        """A plan with each of some drops on top, float64 (items, windows, 3); the drops share the beginning of each pass."""
        names = {item: str(plan | parse(item)) for item in items}
        self._count([str(plan), *names.values()], windows, _shares(self._subject, plan, items))
        scans: dict[tuple[str, ...], Scan] = {}
        for place, window in enumerate(windows):
            missing = tuple(item for item in items if (names[item], window) not in self._rows)
            if missing:
                if missing not in scans:
                    scans = {missing: Scan(self._subject, plan, missing, self._tokens, self._dense)}
                rows = scans[missing].window(window, lambda share, place=place: progress(place + share, len(windows), ""))
                self._keep(window, [str(plan), *(names[item] for item in missing)], rows)
        return self._read([names[item] for item in items], windows)

    def _measure(self, views: dict[str, View], window: int) -> np.ndarray:
        tokens = self._tokens[window]
        reference = Reference(self._dense.head, self._dense.states(window)[:-1], tokens[1:])
        rows = reference.measured([last_states(view, tokens[None])[0, :-1] for view in views.values()])
        for name, row in zip(views, rows, strict=True):
            refuse_nonsense(f"The logits of the plan {name}", torch.from_numpy(row))
        return rows

    def _count(self, plans: Sequence[str], windows: Sequence[int], passes: Sequence[float]) -> None:
        """Passes are counted the first time they are needed here, whoever made them, so that the count is always the same."""
        for name, share in zip(plans, passes, strict=True):
            fresh = {(name, window) for window in windows} - self._counted
            self.passes += share * len(fresh)
            self._counted |= fresh

    def _keep(self, window: int, plans: list[str], rows: np.ndarray) -> None:
        self._kept[hashlib.sha256(f"{window} {plans}".encode()).hexdigest()[:20]] = {
            "window": window,
            "plans": plans,
            "rows": rows,
        }
        self._rows.update({(plan, window): row for plan, row in zip(plans, rows, strict=True)})

    def _read(self, plans: Sequence[str], windows: Sequence[int]) -> np.ndarray:
        found = [[self._rows[plan, window] for window in windows] for plan in plans]
        return np.array(found).reshape(len(plans), len(windows), len(MEASURES))


def _shares(subject: Subject, plan: Plan, items: Sequence[str]) -> list[float]:
    """Of the model's blocks, those that a plan's pass runs, then those that each item's runs after the common beginning."""
    left = [layer for layer in range(subject.layers) if layer not in dropped(plan).blocks]
    after = (len(left) - left.index(int(item[1:])) - (item[0] == "b") for item in items)
    return [count / subject.layers for count in (len(left), *after)]
