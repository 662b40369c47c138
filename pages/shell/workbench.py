"""What one process holds for everybody: the store, the jobs, the leased models, and the answers being written."""

import logging
import threading
import uuid
from collections import OrderedDict
from dataclasses import asdict

import streamlit as st

from cache.job import Cancelled
from cache.jobs import Job, Jobs, sentence
from cache.keys import canonical
from models.generate import Settings, Token, Writer, prompt_tokens, write
from models.lease import Leases
from models.subject import ModelRef
from plans.cut import cut
from plans.export.export import Exported, Order
from plans.plan import Plan
from probes.answer import Answer, answer, find, learned, open_ledger, open_store
from probes.decision.book import Book, open_book
from probes.export import job_key
from probes.export import run as run_export
from probes.generation.comparison import open_comparisons
from probes.generation.votes import open_votes
from probes.known import Known
from probes.question import Asked, Question, resolve
from refusal import Progress, Refusal
from texts.corpus import CorpusRef

_log = logging.getLogger(__name__)
_LIVES = 50  # answers remembered; the oldest go first


class Live:
    """Several views of one model continuing one prompt, on a thread of its own."""

    def __init__(
        self, bench: "Workbench", ref: ModelRef, corpus: CorpusRef, plans: list[Plan], prompt: str, settings: Settings
    ) -> None:
        self.ref, self.corpus, self.plans, self.prompt, self.settings = ref, corpus, plans, prompt, settings
        self.text = ""  # what is being waited for before the first token: the model, or what a plan learns
        self.tokens: list[list[Token]] = [[] for _ in plans]
        self.cache_bytes = [0] * len(plans)
        self.prompt_tokens = 0
        self.error: str | None = None
        self.over, self._stop = threading.Event(), threading.Event()
        threading.Thread(target=self._run, args=(bench, ref, corpus, prompt), name="generation", daemon=True).start()

    def stop(self) -> None:
        """End after the token that is being computed."""
        self._stop.set()

    def _run(self, bench: "Workbench", ref: ModelRef, corpus: CorpusRef, prompt: str) -> None:
        try:
            self._write(bench, ref, corpus, prompt)
        except Cancelled:
            self.error = "Stopped before the first token."
        except Exception as error:  # a thread has nobody else to tell
            _log.warning("generation failed: %s", error, exc_info=not isinstance(error, Refusal))
            self.error = sentence(error)
        finally:
            self.over.set()

    def _write(self, bench: "Workbench", ref: ModelRef, corpus: CorpusRef, prompt: str) -> None:
        with bench.leases.lease(ref, self._progress) as subject:
            tokens = prompt_tokens(subject.tokenizer, prompt, self.settings.chat, subject.context).to(subject.device)
            self.prompt_tokens = tokens.shape[1]
            ready = []
            for plan in self.plans:
                asked = resolve(Question("fidelity", ref, corpus, str(plan)), bench.known.identify)
                ready.append(learned(asked, subject, bench.store, self._progress)[0] if asked.learning else plan)
            self.text = ""
            with bench.jobs.goes_first():
                writers = [Writer(cut(subject, plan), subject.tokenizer, tokens, self.settings.temperature) for plan in ready]
                for place, token in write(writers, self.settings, subject.context):
                    self.tokens[place].append(token)
                    self.cache_bytes[place] = writers[place].cache_bytes
                    if self._stop.is_set():
                        break

    def _progress(self, done: float, total: float, text: str) -> None:
        if self._stop.is_set():
            raise Cancelled
        self.text = text


class Workbench:
    """The state of the process."""

    def __init__(self) -> None:
        self.store = open_store()
        self.jobs = Jobs(self.store)
        self.ledger = open_ledger(self.store)
        self.leases = Leases()
        self.known = Known(self.store)
        self._exports: dict[str, tuple[Order, list[Exported]]] = {}  # by job, since the app was started
        self._notes = open_book()
        self.comparisons, self.votes = open_comparisons(), open_votes()
        self._lock = threading.Lock()  # guards the next one
        self._lives: OrderedDict[str, Live] = OrderedDict()

    def load(self, ref: ModelRef, owner: str = "") -> Job:
        """Bring a model into memory and look at it; a job like any other, and one for all who ask."""

        def work(progress: Progress) -> None:
            with self.leases.lease(ref, progress) as subject:
                self.known.note(ref, subject.fingerprint)
                asked = resolve(Question("anatomy", ref), lambda _: subject.fingerprint)
                if self.store.about(asked.key) is None:
                    progress(0, 0, "counting parameters")
                    self.store.put(asked.key, *answer(asked, self.leases.lease, self.store, progress))

        return self.jobs.submit(_load_key(ref), f"Load {ref.name}", work, "another process is loading this model", owner)

    def at_once(self, asked: Asked) -> Answer | None:
        """The answer to a question that takes less than 0.1 s: known, or got now if the model is in memory."""
        found = find(self.store, asked)
        # By the reference that it was leased as: another one may ask for another device, and load it there.
        here = next((each.ref for each in self.leases.residents() if each.fingerprint == asked.fingerprint), None)
        if found is None and here is not None:
            self.store.put(asked.key, *answer(asked, lambda _, progress: self.leases.lease(here, progress), self.store))
            found = find(self.store, asked)
        return found

    def loading(self, ref: ModelRef) -> Job | None:
        """The latest job that loaded or loads a model."""
        return self.jobs.get(_load_key(ref))

    def book(self, ref: ModelRef) -> Book:
        """What people wrote about the plans of a model.

        Raises
        ------
        Refusal
            Nothing is known of the model.
        """
        return Book(self._notes, self.known.identify(ref))

    def export(self, order: Order, owner: str = "") -> Job:
        """Write a plan as a checkpoint; a job like any other.

        Raises
        ------
        Refusal
            The folder is not allowed, or something else is being exported to it.
        """
        key, done = job_key(order), []
        running = self.jobs.get(key)
        if running is not None and running.active and self._exports[key][0] != order:
            raise Refusal(f"Another export to {order.folder} is running. Wait for it, or choose another name.")

        def work(progress: Progress) -> None:
            done.append(run_export(order, self.known, self.leases, progress))

        self._exports[key] = order, done
        return self.jobs.submit(key, f"Export {order.folder}", work, "another process exports to this folder", owner)

    def exporting(self, order: Order) -> tuple[Job | None, Exported | None]:
        """The job of exactly this export, and what it wrote if it is through."""
        try:
            key = job_key(order)
        except Refusal:
            return None, None
        asked, done = self._exports.get(key, (None, []))
        return (self.jobs.get(key), done[-1] if done else None) if asked == order else (None, None)

    def write(self, ref: ModelRef, corpus: CorpusRef, plans: list[Plan], prompt: str, settings: Settings) -> str:
        """Begin to write; returns the name under which the answers can be watched. Plans learn from ``corpus``."""
        name, live = uuid.uuid4().hex, Live(self, ref, corpus, plans, prompt, settings)
        with self._lock:
            self._lives[name] = live
            old = [self._lives.popitem(last=False)[1] for _ in range(len(self._lives) - _LIVES)]
        for each in old:
            each.stop()
        return name

    def live(self, name: str | None) -> Live | None:
        """The answers that were begun under a name."""
        with self._lock:
            return self._lives.get(name)

    def lives(self) -> list[Live]:
        """All answers remembered, the oldest first."""
        with self._lock:
            return list(self._lives.values())


def _load_key(ref: ModelRef) -> str:
    return f"load {canonical(asdict(ref))}"


@st.cache_resource(show_spinner=False)
def workbench() -> Workbench:
    """The one object that all sessions of this process share."""
    return Workbench()
