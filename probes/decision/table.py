"""All that is known of the plans of one model. Pages ask at every redraw, so what was read and compared is remembered."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from models.anatomy import Anatomy
from probes.decision import pairs
from probes.decision.book import Noted
from probes.decision.pairs import Pair
from probes.decision.rows import Numbers, Row, Savings, numbers
from probes.known import Entry, Known
from probes.question import Question

PROBES = ("fidelity", "search", "choice_subspace", "evaluate", "speed")  # whose answers are in a row; earlier ones go first
_REMEMBERED = 20_000  # answers and pairs
Found = dict[str, list[Entry]]  # by probe, newest first


class Table:
    """The plans of models: an answer is decoded once and a pair tested once, whoever looks and how often."""

    def __init__(self, known: Known) -> None:
        self._known, self._lock = known, threading.Lock()
        self._made: OrderedDict[Hashable, Any] = OrderedDict()

    def found(self, question: Question, params: Mapping[str, dict[str, Any]]) -> Found:
        """Which answers there are on a model and text; none is read.

        Parameters
        ----------
        question : Question
            Of which model and text.
        params : mapping of str to dict
            Parameters by probe, where they are not the defaults; searches are taken with any.
        """
        asked = {probe: replace(question, probe=probe, plan="", params=params.get(probe, {})) for probe in PROBES}
        return {probe: self._known.alike(each, params=probe == "search") for probe, each in asked.items()}

    def rows(
        self, found: Found, dense: Anatomy, notes: Mapping[str, Noted], forgotten: Mapping[str, float] = MappingProxyType({})
    ) -> list[Row]:
        """A row for each plan that was measured, noted or chosen by a search: pinned ones first, then by KL.

        Parameters
        ----------
        dense : Anatomy
            What the model is made of.
        forgotten : mapping of str to float
            When plans were forgotten, in unix seconds: what searches said of them before that is left out.
        """
        values: dict[str, Numbers] = {plan: {} for plan in notes}
        for probe in PROBES:
            for entry in found[probe]:
                for plan, each in self._numbers(entry).items():
                    if probe != "search" or entry.created > forgotten.get(plan, 0.0):
                        values[plan] = each | values.get(plan, {})
        savings = Savings(dense)
        made = [Row(notes.get(plan, Noted(plan)), **savings.of(plan), **each) for plan, each in values.items()]
        return sorted(made, key=lambda row: (not row.noted.pinned, row.kl is None, row.kl or 0.0, row.noted.plan))

    def pairs(self, found: Found, first: str, second: str) -> list[Pair]:
        """Two plans compared by every measurement that there is of both."""
        of_both = {probe: [_of(found[probe], plan) for plan in (first, second)] for probe in PROBES if probe != "search"}
        entries = [*found["search"], *(each for both in of_both.values() for each in both)]
        key = first, second, tuple(entry and (entry.key, entry.created) for entry in entries)
        return self._remembered(key, lambda: self._compared(of_both, found["search"], first, second))

    def _compared(self, of_both: Mapping[str, list[Entry | None]], searches: list[Entry], *plans: str) -> list[Pair]:
        compare = {"fidelity": pairs.on_tokens, "choice_subspace": pairs.on_items, "evaluate": pairs.on_tasks}
        results = {probe: [self._result(entry) for entry in of_both[probe]] for probe in compare}
        made = [pair for probe, both in results.items() if None not in both for pair in compare[probe](*both)]
        if None in results["fidelity"]:
            searched = [result for entry in searches if (result := self._result(entry))]
            made = [*pairs.on_held_out(plans, results["fidelity"], searched), *made]
        return made

    def _numbers(self, entry: Entry) -> dict[str, Numbers]:
        def make() -> dict[str, Numbers]:
            result = self._result(entry)
            return numbers(entry.about["question"].get("plan", ""), result) if result is not None else {}

        return self._remembered((entry.key, entry.created), make)

    def _result(self, entry: Entry | None) -> Any:
        answer = self._known.open(entry) if entry is not None else None
        return answer.result if answer is not None else None

    def _remembered(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What was made under a key; two who ask for it at the same time may both make it."""
        with self._lock:
            if key in self._made:
                self._made.move_to_end(key)
                return self._made[key]
        made = make()
        with self._lock:
            self._made[key] = made
            while len(self._made) > _REMEMBERED:
                self._made.popitem(last=False)
        return made


def _of(entries: list[Entry], plan: str) -> Entry | None:
    """The newest answer about a plan."""
    return next((entry for entry in entries if entry.about["question"].get("plan") == plan), None)
