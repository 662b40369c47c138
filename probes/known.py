"""What is known without the model: its fingerprint, its anatomy, what plans cost, and which plans were tried."""

import json
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from types import MappingProxyType

from cache.codec import encode
from cache.keys import key as key_of
from cache.store import Entry, Store
from models.anatomy import Anatomy
from models.loading.identity import identify
from models.subject import ModelRef
from plans.cost import Cost
from probes import PROBES
from probes import question as questions
from probes.answer import Answer, find, opened
from probes.question import Question, resolve
from refusal import Refusal
from texts.corpus import text_digest

_KEYS = 50_000
_LATELY = 100


class Known:
    """What a store tells of models, also of those whose files are not on this machine.

    Parameters
    ----------
    store : Store
    lasting : float, optional
        Seconds for which files that were just looked at are not looked at again: a page asks ten times while it is drawn.
    """

    def __init__(self, store: Store, lasting: float = 0.0) -> None:
        self.store, self._lasting = store, lasting
        self._lately: dict[ModelRef, tuple[float, str]] = {}  # when, and what was found
        self._keys: dict[tuple[str, str], str] = {}  # of questions, by what they are but for the plan, and the plan

    def identify(self, ref: ModelRef) -> str:
        """The fingerprint of a model: of its files, else the one it had when it was last seen here or where a bundle was made.

        Raises
        ------
        Refusal
            Its files are not here, and nothing is known of it.
        """
        now = time.monotonic()
        seen, fingerprint = self._lately.get(ref, (-math.inf, ""))
        if now - seen < self._lasting:
            return fingerprint
        try:
            fingerprint = identify(ref)
        except Refusal:
            about = self.store.about(_name(ref))
            if about is None:
                raise
            return about["fingerprint"]
        self._lately = {ref: (now, fingerprint)} if len(self._lately) >= _LATELY else self._lately | {ref: (now, fingerprint)}
        return fingerprint

    def note(self, ref: ModelRef, fingerprint: str) -> None:
        """Remember what a reference means."""
        about = {"model": asdict(ref), "fingerprint": fingerprint, "created": time.time()}
        if (self.store.about(_name(ref)) or {}).get("fingerprint") != fingerprint:
            self.store.put(_name(ref), encode({}), about)

    def find(self, question: Question) -> Answer | None:
        """The answer to a question, if there is one."""
        return find(self.store, resolve(question, self.identify))

    def anatomy(self, ref: ModelRef) -> Anatomy | None:
        """What the model is made of; None: it was never loaded, and no bundle told of it.

        Raises
        ------
        StoreError
            The store cannot be read.
        """
        try:
            found = self.find(Question("anatomy", ref))
        except Refusal:
            return None
        return found.result if found else None

    def cost(self, ref: ModelRef, plan: str) -> Cost | None:
        """What a plan leaves of a model; None: it was not counted yet."""
        found = self.find(Question("cost", ref, plan=plan))
        return found.result if found else None

    def answers(self, ref: ModelRef) -> Iterator[Answer]:
        """Every answer of today's probes on a model, probe by probe and then the newest first; on other machines too.

        Raises
        ------
        Refusal
            Nothing is known of the model.
        """
        order = list(PROBES)
        for entry in sorted(self._answers(ref), key=lambda entry: (order.index(_probe(entry)), -entry.created)):
            if (answer := self.open(entry)) is not None:  # the others are still worth seeing
                yield answer

    def answered(self, ref: ModelRef) -> bool:
        """Whether there are answers of today's probes on a model; none is read."""
        try:
            return bool(self._answers(ref))
        except Refusal:
            return False

    def _answers(self, ref: ModelRef) -> list[Entry]:
        fingerprint = self.identify(ref)
        return [
            entry
            for entry in self.store.entries(lambda about: about.get("question", {}).get("probe") in PROBES)
            if entry.about["question"]["model"]["fingerprint"] == fingerprint
            and entry.about["question"]["probe_version"] == PROBES[_probe(entry)].version
        ]

    def forget(self, fingerprint: str, plan: str) -> int:
        """Forget every answer about a plan of a model; returns how many there were."""

        def of_plan(about: dict) -> bool:
            question = about.get("question", {})
            probe = PROBES.get(question.get("probe"))  # a search only begins with its plan
            ours = question.get("plan") == plan and question.get("model", {}).get("fingerprint") == fingerprint
            return ours and (probe is None or probe.applies_plan)

        found = self.store.entries(of_plan)
        for entry in found:
            self.store.delete(entry.key)
        return len(found)

    def tried(self, question: Question, there: Mapping[str, Answer] = MappingProxyType({})) -> list[tuple[str, Answer]]:
        """Every answer that differs from a question by its plan and nothing else, with the plan, newest first.

        Parameters
        ----------
        there : mapping of str to Answer, optional
            Answers to this question that were read already, by plan.
        """
        found = []
        for entry in self.alike(question):
            plan = entry.about["question"].get("plan", "")
            if plan in there:
                found.append((plan, there[plan]))
            elif (answer := self.open(entry)) is not None:
                found.append((plan, answer))
        return found

    def alike(self, question: Question, params: bool = False) -> list[Entry]:
        """The answers that differ from a question by their plan and nothing else, newest first; none is read.

        Parameters
        ----------
        params : bool, optional
            They may have other parameters, too.

        Raises
        ------
        Refusal
            Nothing is known of the model.
        """
        fingerprint, found, alike = self.identify(question.model), [], {}
        for entry in self.store.entries(lambda about: about.get("question", {}).get("probe") == question.probe):
            told = entry.about["question"]
            given = told.get("params", {}) if params else question.params
            with suppress(Refusal):  # of the text, or of another version, which had other parameters
                if repr(given) not in alike:
                    alike[repr(given)] = _without_plan(replace(question, params=given), fingerprint)
                plan = told.get("plan", "")
                if self._key(replace(question, params=given, plan=plan), fingerprint, alike[repr(given)]) == entry.key:
                    found.append(entry)
        return found

    def _key(self, question: Question, fingerprint: str, alike: str) -> str:
        """The key of a question, remembered: pages ask for those of all plans at every redraw."""
        key = self._keys.get((alike, question.plan))
        if key is None:
            if len(self._keys) > _KEYS:
                self._keys.clear()
            key = self._keys[alike, question.plan] = resolve(question, lambda _: fingerprint).key
        return key

    def open(self, entry: Entry) -> Answer | None:
        """An answer by its row; None: it was forgotten meanwhile, or is damaged, and is forgotten now."""
        with suppress(Refusal):
            row = self.store.read(entry.key, hit=False)
            return opened(self.store, entry.key, PROBES[_probe(entry)].result, row) if row is not None else None
        return None


def _without_plan(question: Question, fingerprint: str) -> str:
    """What a question is but for its plan; the text counts also where only some plans read it, to learn from it."""
    text = replace(question.corpus, name=text_digest(question.corpus.name))
    return f"{resolve(replace(question, plan=''), lambda _: fingerprint).key} {questions.LEARNING} {text}"


def _probe(entry: Entry) -> str:
    return entry.about["question"]["probe"]


def _name(ref: ModelRef) -> str:
    return f"model {key_of({'ref': json.dumps(asdict(ref), sort_keys=True)})}"
