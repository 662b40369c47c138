"""From a resolved question to the bytes of its answer; no page, thread or live object is needed, so any process can do it."""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch

from cache.codec import CodecError, decode, encode
from cache.jobs import Job, Jobs
from cache.keys import key as key_of
from cache.ledger import Ledger
from cache.lock import only_one
from cache.store import Damaged, Store, Stored
from models.subject import ModelRef, Subject
from plans.cut import Calibrated, checked
from plans.learn import learn
from plans.plan import EMPTY, Plan
from probes.access.limits import refuse_beyond, refuse_too_large
from probes.base import as_dict, from_dict
from probes.description import well_formed
from probes.interim import Interim
from probes.kept import Kept, Spare
from probes.question import Asked, Learning
from refusal import Progress, Refusal, silent
from settings import data_directory, settings
from texts.corpus import Corpus, read_corpus

Compute = Callable[[Asked, Progress], tuple[bytes, dict[str, Any]] | None]
Lease = Callable[[ModelRef, Progress], AbstractContextManager[Subject]]


@dataclass(frozen=True)
class Answer:
    """A result and how it came about: ``question, seconds, versions, tokens, digest, created, learned, from_cache``."""

    result: Any
    about: dict[str, Any]


def open_store() -> Store:
    """The store of answers in the data directory."""
    return Store(data_directory() / "answers", settings().store, fits=well_formed)


def open_ledger(store: Store) -> Ledger:
    """Where questions stand that were asked of this store and have no answer yet."""
    return Ledger(data_directory() / "asked", store)


def find(store: Store, asked: Asked) -> Answer | None:
    """The answer, if somebody got it before; never computes, and reads the store once.

    Raises
    ------
    Refusal
        The stored answer was damaged and is forgotten now.
    """
    try:
        row = store.read(asked.key)
    except Damaged as error:
        raise _forgotten(store, asked.key) from error
    return None if row is None else opened(store, asked.key, asked.probe.result, row)


def opened(store: Store, key: str, result: type, row: Stored) -> Answer:
    """A stored row as an answer."""
    if "question" not in row.about:
        raise _forgotten(store, key)
    try:
        return Answer(from_dict(result, decode(row.payload)), row.about | {"from_cache": True})
    except (CodecError, TypeError) as error:  # TypeError: the fields are not those of a result
        raise _forgotten(store, key) from error


def _forgotten(store: Store, key: str) -> Refusal:
    store.delete(key)
    return Refusal("The stored answer was damaged, so it was forgotten. Ask again.")


def pieces(store: Store, asked: Asked) -> Mapping[str, dict[str, Any]]:
    """The same by name, each read when it is looked at: KeyError if it was forgotten, Refusal if it was damaged."""
    return Kept(store, asked.memory_key, {}, uses=False) if asked.memory_key else {}


def remembered(store: Store, asked: Asked) -> list[dict[str, Any]]:
    """What a question's probe has kept so far on this model and text, in pieces; damaged ones are forgotten and left out."""
    kept, found = pieces(store, asked), []
    for name in kept:
        with suppress(KeyError, Refusal):  # forgotten meanwhile, or damaged
            found.append(kept[name])
    return found


def submit(jobs: Jobs, asked: Asked, compute: Compute, owner: str = "", ledger: Ledger | None = None, device: str = "") -> Job:
    """Ask for the answer; the job of an equal question that is running is handed back as it is.

    Parameters
    ----------
    compute : callable
        What gives the bytes of the answer and what is said about it, such as `by_lease`; or None, if it put them into the
        store itself.
    owner : str
        Who asks.
    ledger : Ledger, optional
        Where the question stands until the job ends, so that it is known after a restart.
    device : str
        Whose queue it waits in.

    Raises
    ------
    Refusal
        It asks for more than the operator allows.
    """
    refuse_beyond(asked)
    work = partial(compute, asked)
    if ledger is None:
        return jobs.submit(asked.key, asked.label, work, owner=owner, device=device)
    return ledger.submit(jobs, asked.key, asdict(asked.question), asked.label, work, owner, device)


def by_lease(lease: Lease, store: Store) -> Compute:
    """`answer` with a lease and a store."""
    return lambda asked, progress: answer(asked, lease, store, progress)


def answer(asked: Asked, lease: Lease, store: Store, progress: Progress = silent) -> tuple[bytes, dict[str, Any]]:
    """Bytes of the answer, and what the store notes about it.

    Parameters
    ----------
    lease : callable
        ``with lease(ref, progress) as subject`` lends the model, loaded if need be.
    store : Store
        Where what is learned on the way and the dense side are kept, and found again.
    """
    with lease(asked.question.model, progress) as subject:
        if subject.fingerprint != asked.fingerprint:
            raise Refusal(f"The files of {asked.question.model.name} have changed since this was asked. Ask again.")
        refuse_too_large(asked, subject)
        corpus = _cut(asked.corpus, subject)
        plan, learned_on = learned(asked, subject, store, progress) if asked.learning else (asked.plan, None)
        begun = time.perf_counter()
        more = {"dense": _dense(asked, subject, corpus, store)} if asked.dense_key else {}
        if asked.memory_key:
            more["memory"] = _beside(asked, store, asked.memory_key, "memory")
        if asked.probe.keeps_sums:
            more["interim"] = interim = Interim(_beside(asked, store, key_of({"sums": asked.key}), "sums", Spare))
            progress = interim.watched(progress)
        result = asked.probe.run(subject, corpus, plan, asked.params, progress, **more)
        seconds = time.perf_counter() - begun
        if asked.probe.keeps_sums:
            interim.forget()
        return encode(as_dict(result)), _about(asked, subject, corpus, learned_on, seconds)


def learned(asked: Asked, subject: Subject, store: Store, progress: Progress = silent) -> tuple[Calibrated, Corpus]:
    """The plan with what its operations learned, each learned and kept now if need be; and what they learned it from."""
    checked(subject, asked.plan)  # before an operation learns for minutes and a later one cannot be applied
    corpus = _cut(asked.learned_on, subject)
    tokens = torch.from_numpy(corpus.tokens).to(subject.device)
    steps = {step.operation.name: step for step in asked.learning}
    done = Calibrated(EMPTY)
    for operation in asked.plan.operations:
        pieces = dict(done.learned)
        if operation.name in steps:
            pieces[operation.name] = _pieces(steps[operation.name], done, subject, tokens, asked, store, progress)
        done = Calibrated(Plan((*done.plan.operations, operation)), pieces)
    return done, corpus


def _pieces(
    step: Learning, before: Calibrated, subject: Subject, tokens: torch.Tensor, asked: Asked, store: Store, progress: Progress
) -> Kept:
    """What one operation learned: complete in the store, or taken up where it was interrupted."""
    names = ("model", "corpus", "versions")
    about = {
        "learned": str(step.operation.basis()),
        "before": str(step.before),
        "of": {name: asked.record[name] for name in names},
    }
    kept = Kept(store, step.key, about)
    if not _complete(store, step.key, kept):
        with only_one(store.directory / "locks", f"learn {step.key}", lambda: progress(0, 0, _WAITING)):
            if not _complete(store, step.key, kept):
                learn(subject, step.operation, before, tokens, kept, kept.__setitem__, progress)
                store.put(step.key, encode({"pieces": sorted(kept)}), about)
                if not _complete(store, step.key, kept):
                    raise Refusal("What the plan learned could not be stored. Is the limit of the store too low for it?")
    return kept


_WAITING = "another job is preparing the same plan"


def _complete(store: Store, key: str, kept: Kept) -> bool:
    """Whether everything was learned, and none of it forgotten since."""
    row = store.read(key)
    try:
        return row is not None and set(decode(row.payload)["pieces"]) <= set(kept)
    except (CodecError, KeyError, TypeError):
        return False  # damaged: what is missing is learned again


def _dense(asked: Asked, subject: Subject, corpus: Corpus | None, store: Store) -> Any:
    tokens = None if corpus is None else torch.from_numpy(corpus.tokens).to(subject.device)
    return asked.probe.dense_side(subject, tokens, _beside(asked, store, asked.dense_key, "dense"))


def _beside(asked: Asked, store: Store, key: str, what: str, kind: type[Kept] = Kept) -> Kept:
    """What is kept about a model and a text, for whatever else is asked of them."""
    return kind(store, key, {what: key, "of": {name: asked.record[name] for name in ("model", "corpus", "versions")}})


def _cut(ref: Any, subject: Subject) -> Corpus | None:
    return None if ref is None else read_corpus(ref, subject.tokenizer, subject.context)


def _about(asked: Asked, subject: Subject, corpus: Corpus | None, learned_on: Corpus | None, seconds: float) -> dict[str, Any]:
    about = {
        "question": asked.record,
        "seconds": seconds,
        **_size(corpus),
        "created": time.time(),
        "versions": asked.record["versions"],
        "device": str(subject.device),
        "dtype": str(subject.dtype).removeprefix("torch."),
    }
    return about | ({"calibration": _size(learned_on)} if learned_on else {})


def _size(corpus: Corpus | None) -> dict[str, Any]:
    if corpus is None:
        return {"tokens": 0, "windows": 0, "digest": ""}
    return {"tokens": int(corpus.tokens.size), "windows": len(corpus.tokens), "digest": corpus.digest}
