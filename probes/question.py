"""A question is data: resolved once into everything that follows from it, its key among it; nothing here computes.

A key names the answer, whoever asks and from where: it holds what the model, the texts and the items are and not how they are
called, the version of the probe, and those of the libraries that numbers depend on.
"""

import importlib.metadata
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any

from cache.keys import key as key_of
from models.subject import ModelRef
from plans.operation import Operation
from plans.plan import EMPTY, Plan, parse
from probes import HIDDEN, PROBES
from probes.base import Probe, read_params
from probes.deviation import dense
from probes.speed.machine import machine
from refusal import Refusal
from texts.corpus import CorpusRef, label, text_digest

# A number may change with these, so an answer belongs to them.
_LIBRARIES = ("torch", "transformers")
LEARNING = 2  # raised when what operations learn changes, so that nothing built on the old is found any more
Identify = Callable[[ModelRef], str]  # the fingerprint of a model


@dataclass(frozen=True)
class Question:
    """A probe asked of a model on a corpus, with a plan where the probe takes one."""

    probe: str
    model: ModelRef = field(default_factory=ModelRef)
    corpus: CorpusRef = field(default_factory=CorpusRef)
    plan: str = ""
    params: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, given: dict[str, Any]) -> "Question":
        """The inverse of ``dataclasses.asdict``; Refusal, TypeError or KeyError where something else is given."""
        return cls(**given | {"model": ModelRef(**given["model"]), "corpus": CorpusRef(**given["corpus"])})


@dataclass(frozen=True)
class Learning:
    """What one operation of a plan learns, and the key under which its pieces are kept."""

    operation: Operation
    before: Plan
    key: str


@dataclass(frozen=True, eq=False)
class Asked:
    """A question with all that follows from it.

    Attributes
    ----------
    plan : Plan
        Empty where the probe takes none.
    corpus : CorpusRef or None
        The measured text; None where the probe looks at none.
    learned_on : CorpusRef or None
        The windows that follow it, which operations learn from, so that nothing is measured on what it was learned from.
    learning : tuple of Learning
        In the order of the plan.
    dense_key : str
        Where the dense side is kept; empty: this probe does not keep it.
    memory_key : str
        Where the probe keeps what it remembers of this model and text; empty: nothing.
    key : str
        The name of the answer.
    record : dict
        The question with nothing left implicit, for a reader of the answer.
    """

    question: Question
    probe: Probe
    params: Any
    plan: Plan
    corpus: CorpusRef | None
    learned_on: CorpusRef | None
    learning: tuple[Learning, ...]
    dense_key: str
    memory_key: str
    fingerprint: str
    key: str
    record: dict[str, Any]

    @property
    def label(self) -> str:
        """What a job that answers it is called."""
        return f"{self.probe.title} · {self.question.model.name} {self.plan}".strip()


def probe_named(name: str) -> Probe:
    """The registered probe of that name; a Refusal lists the names there are."""
    if name in PROBES or name in HIDDEN:
        return PROBES.get(name) or HIDDEN[name]
    raise Refusal(f"There is no probe '{name}'. Choose one of: {', '.join(PROBES)}.")


def resolve(question: Question, identify: Identify) -> Asked:
    """Everything that follows from a question.

    Parameters
    ----------
    identify : callable
        Gives the fingerprint of a model.

    Raises
    ------
    Refusal
        There is no such probe, parameter, text or model, or the plan cannot be read.
    """
    probe = probe_named(question.probe)
    params = read_params(probe, question.params)
    plan = parse(question.plan) if probe.takes_plan else EMPTY
    learns = probe.applies_plan and bool(plan.learning)
    corpus = question.corpus if probe.takes_corpus else None
    fingerprint = identify(question.model)
    record = _record(probe, params, plan, question, fingerprint, bool(corpus or learns))
    identity = _identity(record)
    return Asked(
        question=question,
        probe=probe,
        params=params,
        plan=plan,
        corpus=corpus,
        learned_on=question.corpus.following if learns else None,
        learning=tuple(_learning(plan, identity)) if learns else (),
        dense_key=_dense_key(probe, identity) if probe.keeps_dense else "",
        memory_key=_beside(identity, probe=probe.name, memory=probe.remembers) if probe.remembers else "",
        fingerprint=fingerprint,
        key=key_of(identity | ({"learning": LEARNING} if learns else {})),
        record=record,
    )


def _record(probe: Probe, params: Any, plan: Plan, question: Question, fingerprint: str, reads_text: bool) -> dict[str, Any]:
    given = asdict(params)
    named = {name: text_digest(given[name]) for name in probe.texts if given[name]}
    named |= {name: digest for name, content in probe.contents.items() if (digest := content(given[name]))}
    builtin = {name: digest for name, digest in probe.builtin.items() if not given.get(name)}
    timed = probe.by_machine is not None and probe.by_machine(params)
    where = {"machine": machine(question.model.device)} if timed else {}
    if probe.libraries:
        where["libraries"] = {name: _version(name) for name in probe.libraries}
    return where | {
        "probe": probe.name,
        "probe_version": probe.version,
        "model": {**asdict(question.model), "fingerprint": fingerprint},
        "corpus": _corpus(question.corpus) if reads_text else {},
        "plan": str(plan),
        "params": given | {name: label(given[name]) for name in probe.texts},
        "texts": named | builtin,
        "versions": dict(_versions()),
    }


def _corpus(ref: CorpusRef) -> dict[str, Any]:
    """Everybody may read a record, so it does not hold the name that opens a kept text."""
    return asdict(ref) | {"name": label(ref.name), "text": text_digest(ref.name)}


@cache  # of what this process has imported; reading them takes 5 ms, and a page resolves a question for each of its plans
def _versions() -> tuple[tuple[str, str], ...]:
    return tuple((name, importlib.metadata.version(name)) for name in _LIBRARIES)


def _version(name: str) -> str:
    """Of a package that may be missing; who only looks at answers needs none of them."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _identity(record: dict[str, Any]) -> dict[str, Any]:
    """The record without names, of which the key is made."""
    corpus = {name: value for name, value in record["corpus"].items() if name != "name"}
    params = {name: value for name, value in record["params"].items() if name not in record["texts"]}
    return record | {"model": record["model"]["fingerprint"], "corpus": corpus, "params": params}


def _learning(plan: Plan, identity: dict[str, Any]) -> list[Learning]:
    """Keyed by what an operation learns and by the part of the plan before it, so that plans which begin alike share it."""
    text = {name: identity[name] for name in ("model", "corpus", "versions")} | {"learning": LEARNING}
    found = []
    for operation in plan.learning:
        before = plan.before(operation)
        found.append(Learning(operation, before, key_of(text | {"learns": str(operation.basis()), "before": str(before)})))
    return found


def _beside(identity: dict[str, Any], **what: Any) -> str:
    """The key of what belongs to a model and a text, whatever else is asked of them."""
    return key_of({name: identity[name] for name in ("model", "corpus", "versions")} | what)


def _dense_key(probe: Probe, identity: dict[str, Any]) -> str:
    """What the dense model does on prompts depends on no text, though a plan may have learned from one."""
    return _beside(identity if probe.takes_corpus else identity | {"corpus": {}}, dense=dense.VERSION)
