"""What one process holds for everybody: the store, the jobs, the leased models, and the answers being written."""

import logging
import threading
import uuid
from collections import OrderedDict
from contextlib import ExitStack, closing
from dataclasses import asdict
from functools import partial

import streamlit as st

from cache.job import Cancelled
from cache.jobs import Job, Jobs, sentence
from cache.keys import canonical
from cache.rests import LIVE, stand_behind
from models.generate import Token
from models.subject import ModelRef
from plans.export.export import Exported, Order
from probes.answer import Answer, find, open_ledger, open_store
from probes.decision.book import Book, open_book
from probes.decision.table import Table
from probes.executors.choice import executor, queue_of
from probes.export import job_key
from probes.generation.comparison import open_comparisons
from probes.generation.votes import open_votes
from probes.generation.writing import Writing
from probes.known import Known
from probes.question import Asked
from refusal import Progress, Refusal
from texts.hub import fetch_text

_log = logging.getLogger(__name__)
_LIVES = 50  # answers remembered; the oldest go first


class Live:
    """Several views of one model continuing one prompt, on a thread of its own."""

    def __init__(self, bench: "Workbench", writing: Writing, owner: str = "") -> None:
        self.owner, self.writing, self.plans, self.settings = owner, writing, list(writing.plans), writing.settings
        self.text = ""  # what is being waited for before the first token: the model, or what a plan learns
        self.tokens: list[list[Token]] = [[] for _ in writing.plans]
        self.cache_bytes = [0] * len(writing.plans)
        self.prompt_tokens = 0
        self.beside = False  # whether a job or another answer ran meanwhile, which takes from the speed
        self.error: str | None = None
        self.over, self._stop = threading.Event(), threading.Event()
        threading.Thread(target=self._run, args=(bench,), name="generation", daemon=True).start()

    def stop(self) -> None:
        """End after the token that is being computed."""
        self._stop.set()

    def _run(self, bench: "Workbench") -> None:
        stand_behind(LIVE)
        try:
            self._write(bench)
        except Cancelled:
            self.error = "Stopped before the first token."
        except Exception as error:  # a thread has nobody else to tell
            _log.warning("generation failed: %s", error, exc_info=not isinstance(error, Refusal))
            self.error = sentence(error)
        finally:
            self.over.set()

    def _write(self, bench: "Workbench") -> None:
        with ExitStack() as first, closing(bench.executor.write(self.writing, self._progress)) as tokens:
            for each in tokens:
                self.prompt_tokens = each.prompt_tokens
                if each.token is None:
                    self.text = ""
                    first.enter_context(bench.jobs.goes_first(queue_of(self.writing.ref)))
                else:
                    self.beside = self.beside or bench.busy_beside(self)
                    self.tokens[each.place].append(each.token)
                    self.cache_bytes[each.place] = each.cache_bytes
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
        self.known = Known(self.store, lasting=0.2)
        self.table = Table(self.known)
        self.executor = executor(self.store, self.known)
        self._exports: dict[str, tuple[Order, list[Exported]]] = {}  # by job, since the app was started
        self._notes = open_book()
        self.comparisons, self.votes = open_comparisons(), open_votes()
        self._lock = threading.Lock()  # guards the next one
        self._lives: OrderedDict[str, Live] = OrderedDict()

    def load(self, ref: ModelRef, owner: str = "") -> Job:
        """Bring a model into memory and look at it; a job like any other, and one for all who ask."""

        load = partial(self.executor.load, ref)
        elsewhere = "another process is loading this model"
        return self.jobs.submit(_load_key(ref), f"Load {ref.name}", load, elsewhere, owner, queue_of(ref))

    def at_once(self, asked: Asked) -> Answer | None:
        """The answer to a question that takes less than 0.1 s: known, or got now if the model is in memory."""
        found = find(self.store, asked)
        if found is None:
            self.executor.at_once(asked)
            found = find(self.store, asked)
        return found

    def loading(self, ref: ModelRef) -> Job | None:
        """The latest job that loaded or loads a model."""
        return self.jobs.get(_load_key(ref))

    def fetch(self, text: str, owner: str = "") -> Job:
        """Bring a text of the hub to this machine; a job like any other, in a queue of its own."""
        elsewhere = "another process is fetching this text"
        return self.jobs.submit(_text_key(text), f"Fetch {text}", partial(fetch_text, text), elsewhere, owner, "network")

    def fetched(self, text: str) -> Job | None:
        """The latest job that fetched or fetches a text."""
        return self.jobs.get(_text_key(text))

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
            done.append(self.executor.export(order, progress))

        self._exports[key] = order, done
        elsewhere = "another process is exporting to this folder"
        return self.jobs.submit(key, f"Export {order.folder}", work, elsewhere, owner, queue_of(order.ref))

    def exporting(self, order: Order) -> tuple[Job | None, Exported | None]:
        """The job of exactly this export, and what it wrote if it is through."""
        try:
            key = job_key(order)
        except Refusal:
            return None, None
        asked, done = self._exports.get(key, (None, []))
        return (self.jobs.get(key), done[-1] if done else None) if asked == order else (None, None)

    def write(self, writing: Writing, owner: str = "") -> str:
        """Begin to write; returns the name under which the answers can be watched. Plans learn from ``corpus``."""
        name, live = uuid.uuid4().hex, Live(self, writing, owner)
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

    def busy_beside(self, live: Live) -> bool:
        """Whether a job or another answer is at work beside an answer."""
        others = (not each.over.is_set() for each in self.lives() if each is not live)
        return any(job.state == "running" for job in self.jobs.list()) or any(others)

    def lives(self) -> list[Live]:
        """All answers remembered, the oldest first."""
        with self._lock:
            return list(self._lives.values())

    def stop(self, seconds: float) -> None:
        """Take no more work and end what runs, within so many seconds. Questions stay in the ledger."""
        for each in self.lives():
            each.stop()
        self.jobs.shutdown(seconds)


def _load_key(ref: ModelRef) -> str:
    return f"load {canonical(asdict(ref))}"


def _text_key(name: str) -> str:
    return f"text {name}"


@st.cache_resource(show_spinner=False)
def workbench() -> Workbench:
    """The one object that all sessions of this process share."""
    return Workbench()
