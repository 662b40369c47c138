"""One long computation: where it stands, when it should end, and how to stop it."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from operator import attrgetter

_log = logging.getLogger(__name__)
_ACTIVE = ("queued", "running")


class Cancelled(Exception):
    """Raised out of ``progress`` when someone cancelled the job. Let it pass."""


@dataclass(frozen=True)
class Standing:
    """Where a job stands at one moment. Read it once and its numbers fit together."""

    state: str = "queued"  # "queued", "running", "done", "failed" or "cancelled"
    done: float = 0.0
    total: float = 0.0  # 0 while unknown
    text: str = ""
    started: float | None = None  # unix seconds, for people; None if it never ran
    seconds: float = 0.0  # of running, so far
    eta: float | None = None  # seconds left; None while nothing can be said
    error: str | None = None  # a sentence, when failed, or when somebody else cancelled it


class Job:
    """One computation. Any thread may read it, wait for it and cancel it; only :class:`Jobs` makes and runs it."""

    def __init__(
        self,
        key: str,
        label: str,
        clock: Callable[[], float],
        on_end: Callable[["Job"], None] = lambda job: None,
        device: str = "",
    ) -> None:
        self.key, self.label, self.device, self._on_end = key, label, device, on_end
        self._askers: dict[str, None] = {}  # in the order in which they asked; guarded by the lock below
        self._clock = clock  # for durations: it never jumps, as the time of day does
        self._lock = threading.Lock()  # guards the next four
        self._standing = Standing()
        self._begun: float | None = None  # by the clock; None if it never ran
        self._pace: tuple[float, float] | None = None  # (by the clock, done) when the present stage began
        self._end: float | None = None  # by the clock
        self._cancel = threading.Event()
        self._finished = threading.Event()
        self._why: str | None = None

    @property
    def standing(self) -> Standing:
        """Everything about the job at this moment, consistent in itself."""
        with self._lock:
            now, standing, begun, end = self._clock(), self._standing, self._begun, self._end
        if standing.state != "running":
            return standing
        return replace(standing, seconds=now - begun, eta=None if end is None else max(0.0, end - now))

    state = property(attrgetter("standing.state"))
    done = property(attrgetter("standing.done"))
    total = property(attrgetter("standing.total"))
    text = property(attrgetter("standing.text"))
    started = property(attrgetter("standing.started"))
    seconds = property(attrgetter("standing.seconds"))
    eta = property(attrgetter("standing.eta"))
    error = property(attrgetter("standing.error"))

    @property
    def active(self) -> bool:
        """Whether it is still queued or running."""
        return self.state in _ACTIVE

    @property
    def cancelling(self) -> bool:
        """Whether it was told to stop and has not yet come to a place where it can."""
        return self._cancel.is_set() and self.active

    @property
    def askers(self) -> tuple[str, ...]:
        """Who wants its answer; the first one asked first."""
        with self._lock:
            return tuple(self._askers)

    def cancel(self, why: str | None = None) -> None:
        """Stop it: at once if queued, at its next progress if running. An answer that is ready by then is kept.

        Parameters
        ----------
        why : str, optional
            A sentence for those who asked for it, where it was somebody else who cancelled it.
        """
        self._why = why
        self._cancel.set()
        self._finish("cancelled", "queued", error=why)

    def withdraw(self, asker: str) -> bool:
        """Take back a question; the job ends when nobody wants its answer any more. Returns whether it does."""
        with self._lock:
            self._askers.pop(asker, None)
            alone = not self._askers
            if alone:
                self._cancel.set()  # here, or somebody could join what is about to end
        if alone:
            self.cancel()
        return alone

    def _join(self, asker: str) -> bool | None:
        """Note somebody who wants the answer, and tell whether they are new; None if it has ended or is about to."""
        with self._lock:
            if self._cancel.is_set() or self._standing.state not in _ACTIVE:
                return None
            new = asker not in self._askers
            self._askers[asker] = None
            return new

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is done, failed or cancelled; False if that took longer than ``timeout`` seconds."""
        return self._finished.wait(timeout)

    def _start(self) -> bool:
        """Begin to run; False if it was cancelled while queued, or has begun already."""
        with self._lock:
            if self._standing.state != "queued":
                return False
            self._begun = self._clock()
            self._standing = replace(self._standing, state="running", started=time.time())
            return True

    def _progress(self, done: float, total: float, text: str) -> None:
        """Note progress, and foresee the end from the pace since ``total`` last changed: a new stage has a new pace."""
        if self._cancel.is_set():
            raise Cancelled(f"{self.label} was cancelled.")
        with self._lock:
            now, before = self._clock(), self._standing
            if self._pace is None:
                self._pace = (self._begun, 0.0)
            elif total != before.total or done < before.done:
                self._pace = (now, done)
            since, base = self._pace
            self._end = now + (now - since) * (total - done) / (done - base) if done > base else None
            self._standing = replace(before, done=done, total=total, text=text)

    def _finish(self, state: str, *only_from: str, error: str | None = None) -> None:
        """Enter a final state, once: a cancel and the end of the work may come at the same moment."""
        with self._lock:
            before = self._standing
            if before.state not in (only_from or _ACTIVE):
                return
            seconds = 0.0 if self._begun is None else self._clock() - self._begun
            done = before.total if state == "done" else before.done
            self._standing = replace(before, state=state, done=done, seconds=seconds, error=error)
        try:
            self._on_end(self)  # first, so that whoever waited for the end finds all of it
        except Exception:  # the end is the end, and whoever runs this job has others to run
            _log.exception("What follows the end of %s failed", self.label)
        self._finished.set()
