"""Ask a question: look whether it was answered, or submit it as a job.

A question is data alone, so its canonical text hashed is the name of its answer, whoever asks and from where.
"""

import importlib.metadata
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from cache.codec import CodecError, decode, encode
from cache.jobs import Job, Jobs
from cache.keys import key as key_of_data
from cache.store import Store
from models.loading.load import fingerprint
from models.subject import ModelRef, Subject
from plans.calibration import calibrated
from plans.cut import Calibrated
from plans.plan import Plan, parse
from probes import PROBES
from probes.base import Probe, as_dict, from_dict, read_params
from probes.calibration import PROBE as CALIBRATION
from refusal import Progress, Refusal, silent
from settings import data_directory
from texts.corpus import CorpusRef, cut, text_digest

# A number may change with these, so an answer belongs to them.
_LIBRARIES = ("torch", "transformers")
_LEARNING = threading.Lock()  # a plan is calibrated once, however many ask for it at the same time
_TOKENS = ("tokens", "windows", "digest")


@dataclass(frozen=True)
class Question:
    """A probe asked of a model on a corpus, with a plan where the probe takes one."""

    probe: str
    model: ModelRef = field(default_factory=ModelRef)
    corpus: CorpusRef = field(default_factory=CorpusRef)
    plan: str = ""
    params: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """A result and how it came about: ``question, seconds, versions, tokens, digest, created, from_cache``."""

    result: Any
    about: dict[str, Any]


def probe_named(name: str) -> Probe:
    """The registered probe of that name; a Refusal lists the names there are."""
    for probe in (*PROBES, CALIBRATION):
        if probe.name == name:
            return probe
    raise Refusal(f"There is no probe '{name}'. There are: {', '.join(probe.name for probe in PROBES)}.")


def spelled_out(question: Question, subject: Subject | None = None) -> dict[str, Any]:
    """The question with nothing left implicit: what its key is made of, and what a reader of the answer is told.

    A ``subject`` that is loaded saves looking at the model's files again.
    """
    probe = probe_named(question.probe)
    params = asdict(read_params(probe, question.params))
    plan = parse(question.plan) if probe.takes_plan else Plan()
    corpus = {}
    if probe.takes_corpus or plan.calibrates:
        corpus = asdict(question.corpus) | {"text": text_digest(question.corpus.name)}
    spelled = {
        "probe": probe.name,
        "probe_version": probe.version,
        "model": {**asdict(question.model), "fingerprint": subject.fingerprint if subject else fingerprint(question.model)},
        "corpus": corpus,
        "plan": str(plan),
        "params": params,
        "texts": {name: text_digest(params[name]) for name in probe.texts if params[name]},
        "versions": {name: importlib.metadata.version(name) for name in _LIBRARIES},
    }
    return spelled | ({"calibration_version": CALIBRATION.version} if plan.calibrates else {})


def key(question: Question, subject: Subject | None = None) -> str:
    """The name of the answer. How the model was named does not matter, only what it is; so for the text."""
    data = spelled_out(question, subject)
    corpus = {name: value for name, value in data["corpus"].items() if name != "name"}
    params = {name: value for name, value in data["params"].items() if name not in data["texts"]}
    model = {"fingerprint": data["model"]["fingerprint"]}
    return key_of_data(data | {"model": model, "corpus": corpus, "params": params})


def calibration_of(question: Question) -> Question | None:
    """The question that must be answered before the plan of this one can be applied; None for a plan of drops alone.

    It looks at the windows of the text that follow those of the question, so that nothing is measured on what it learned.
    """
    plan = parse(question.plan)
    if not plan.calibrates or not probe_named(question.probe).takes_plan or question.probe == CALIBRATION.name:
        return None
    return Question(CALIBRATION.name, question.model, question.corpus.following, str(plan.calibration))


def find(store: Store, question: Question, subject: Subject | None = None) -> Answer | None:
    """The answer, if somebody got it before; never computes.

    Raises
    ------
    Refusal
        The question is not one, or its stored answer was damaged and is forgotten now.
    """
    return _read(store, key(question, subject), question.probe)


def _read(store: Store, name: str, probe: str) -> Answer | None:
    payload = store.get(name)
    if payload is None:
        return None
    try:
        result = from_dict(probe_named(probe).result, decode(payload))
    except (CodecError, TypeError) as error:  # TypeError: the fields are not those of a result
        store.delete(name)
        raise Refusal("The stored answer was damaged, so it was forgotten. Ask again.") from error
    return Answer(result, (store.about(name) or {}) | {"from_cache": True})


def submit(jobs: Jobs, question: Question, subject: Subject) -> Job:
    """Ask for the answer; the job of an equal question that is running is handed back as it is.

    Raises
    ------
    Refusal
        The question cannot be asked of this subject: a layer it does not have, too short a text, …
    """
    probe = probe_named(question.probe)
    needed = calibration_of(question)
    read_params(probe, question.params), parse(question.plan).checked(subject.layers)
    for each in filter(None, (question if probe.takes_corpus else None, needed)):  # what is wrong is said before the job
        cut(each.corpus, subject.tokenizer, subject.context)

    def work(progress: Progress) -> tuple[bytes, dict[str, Any]]:
        payload, about = _computed(question, subject, ready(jobs.store, question, subject, progress), progress)
        learned = jobs.store.about(key(needed, subject)) if needed else None
        return payload, about | ({"calibration": {name: learned[name] for name in _TOKENS}} if learned else {})

    label = f"{probe.title} · {question.model.name} {spelled_out(question, subject)['plan']}".strip()
    return jobs.submit(key(question, subject), label, work)


def ready(store: Store, question: Question, subject: Subject, progress: Progress = silent) -> Plan | Calibrated:
    """The plan of a question as it can be applied: with what it learned, which is learned and stored now if need be."""
    plan, needed = parse(question.plan).checked(subject.layers), calibration_of(question)
    if needed is None:
        return plan
    while not _LEARNING.acquire(timeout=0.2):
        progress(0, 0, "another plan is being calibrated")  # where it is cancelled, this raises
    try:
        answer = find(store, needed, subject)
        if answer is None:
            store.put(key(needed, subject), *_computed(needed, subject, parse(needed.plan), progress))
            answer = find(store, needed, subject)
    finally:
        _LEARNING.release()
    if answer is None:
        raise Refusal("What the plan learned could not be kept. Is the data directory full, or its limit too low?")
    return calibrated(subject, plan, answer.result)


def _computed(question: Question, subject: Subject, plan: Plan | Calibrated, progress: Progress) -> tuple[bytes, dict]:
    """Bytes of the answer, and what is told about it."""
    probe, spelled = probe_named(question.probe), spelled_out(question, subject)
    corpus = cut(question.corpus, subject.tokenizer, subject.context) if probe.takes_corpus else None
    begun = time.perf_counter()
    result = probe.run(subject, corpus, plan, read_params(probe, question.params), progress)
    about = {
        "question": spelled,
        "seconds": time.perf_counter() - begun,
        "tokens": int(corpus.tokens.size) if corpus else 0,
        "windows": len(corpus.tokens) if corpus else 0,
        "digest": corpus.digest if corpus else "",
        "created": time.time(),
        "versions": spelled["versions"],
        "device": str(subject.device),
        "dtype": str(subject.dtype).removeprefix("torch."),
    }
    return encode(as_dict(result)), about


def open_store() -> Store:
    """The store of answers in the data directory."""
    return Store(data_directory() / "answers")


def measured(store: Store, probe: str, subject: Subject, corpus: CorpusRef) -> list[tuple[str, Answer]]:
    """Every known answer of a probe on this subject and text, with its plan, newest first."""
    wanted = spelled_out(Question(probe, subject.ref, corpus), subject)
    same = {name: value for name, value in wanted["corpus"].items() if name != "name"}
    found = []
    for entry in store.entries():
        asked = entry.about.get("question", {})
        if (
            asked.get("probe") == probe
            and asked["probe_version"] == wanted["probe_version"]
            and asked["versions"] == wanted["versions"]
            and asked["model"]["fingerprint"] == subject.fingerprint
            and {name: value for name, value in asked["corpus"].items() if name != "name"} == same
        ):
            with suppress(Refusal):  # a damaged row is forgotten, and the others are still worth seeing
                found.append((asked["plan"], _read(store, entry.key, probe)))
    return [(plan, answer) for plan, answer in found if answer is not None]
