"""What was asked and has not ended: rows that outlive the process, so that interrupted work is found after a restart.

Several processes may wait for one answer, and each has a line of its own, ``<key>/<process>``: the end of a job in one of them
says nothing of the others. A process is alive while it holds the lock of its name.
"""

import logging
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cache.codec import CodecError, decode, encode
from cache.jobs import Job, Jobs, Work
from cache.lock import held, hold, sweep
from cache.store import Store, StoreError

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Line:
    """One question that was asked.

    Attributes
    ----------
    key : str
        Of its answer.
    question : dict
        As it was written.
    owner : str
        Who asked first.
    asked : float
        Unix seconds.
    """

    key: str
    question: dict[str, Any]
    owner: str
    asked: float


class Ledger:
    """The questions whose jobs have not ended, of every process that uses one data directory.

    Parameters
    ----------
    directory : Path
        Of the rows; created if missing.
    answers : Store
        Where the answers go; beside them are the locks of jobs: a question whose lock is held is at work somewhere.
    """

    def __init__(self, directory: Path, answers: Store) -> None:
        self._store, self._answers = Store(directory), answers
        self._locks, self._name = directory / "locks", uuid.uuid4().hex  # of this process
        sweep(self._locks)
        self._alive = hold(self._locks, self._name)
        self._lock = threading.RLock()  # held while a job is begun and while the end of one is noted

    def submit(
        self, jobs: Jobs, key: str, question: dict[str, Any], label: str, work: Work, owner: str, device: str = ""
    ) -> Job:
        """Ask for an answer, see `Jobs.submit`; the question stands here until its job ends."""
        with self._lock:
            if not self._answers.has(key):
                self.write(key, question, owner)
            return jobs.submit(key, label, work, owner=owner, device=device, on_end=lambda job: self._ended(jobs, job))

    def _ended(self, jobs: Jobs, job: Job) -> None:
        """Strike out a question, unless it was asked again while its cancelled job still had to come to an end."""
        with self._lock:
            latest = jobs.get(job.key)
            if latest is None or latest is job or not latest.active:
                self.strike(job.key)

    def write(self, key: str, question: dict[str, Any], owner: str) -> None:
        """Note a question; one that was interrupted keeps its owner. A disk that fails costs only the note."""
        try:
            if self._store.has(self._line(key)):
                return
            left = [line for line in self._store.keys(f"{key}/") if not self._elsewhere(line)]
            about = {"owner": owner, "asked": time.time()} | ((self._store.about(left[0]) or {}) if left else {})
            self._store.put(self._line(key), encode({"question": question}), about)
            for line in left:
                self._store.delete(line)
        except (StoreError, CodecError) as error:
            _log.warning("A question is not noted, and will not be known after a restart: %s", error)

    def strike(self, key: str) -> None:
        """Take a question out: its job has ended here."""
        self._delete(self._line(key))

    def let_go(self, key: str) -> None:
        """Take out a question that was interrupted; who waits for it in another process goes on doing so."""
        for line in self._store.keys(f"{key}/"):
            if not self._elsewhere(line):
                self._delete(line)

    def interrupted(self, active: Callable[[str], bool]) -> list[Line]:
        """Questions that nobody works on or waits for any more, the latest first.

        Parameters
        ----------
        active : callable
            Whether a key waits or is worked on in this process.

        Raises
        ------
        StoreError
            The rows cannot be read.
        """
        entries = self._store.entries()
        busy = {_key(entry.key) for entry in entries if self._elsewhere(entry.key)}
        found: dict[str, Line] = {}
        for entry in entries:
            key = _key(entry.key)
            if key in busy or active(key) or held(self._answers.directory / "locks", key):
                continue
            if self._answers.has(key):  # killed between its answer and this line
                self._delete(entry.key)
                continue
            row = self._store.read(entry.key, hit=False)
            try:
                about = entry.about
                found[key] = Line(key, decode(row.payload)["question"], str(about["owner"]), float(about["asked"]))
            except (CodecError, KeyError, TypeError, ValueError, AttributeError):  # damaged, or gone meanwhile
                self._delete(entry.key)
        return sorted(found.values(), key=lambda line: -line.asked)

    def _line(self, key: str) -> str:
        return f"{key}/{self._name}"

    def _elsewhere(self, line: str) -> bool:
        """Whether another process wrote a line, and is alive."""
        name = line.partition("/")[2]
        return name not in ("", self._name) and held(self._locks, name)

    def _delete(self, line: str) -> None:
        try:
            self._store.delete(line)
        except StoreError as error:
            _log.warning("A question that has ended is still noted: %s", error)


def _key(line: str) -> str:
    return line.partition("/")[0]
