"""What was asked and has not ended: rows that outlive the process, so that interrupted work is found after a restart."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cache.codec import CodecError, decode, encode
from cache.jobs import Job, Jobs, Work
from cache.lock import held
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
        """Note a question; one that stands here already keeps its owner. A disk that fails costs only the note."""
        try:
            if not self._store.has(key):
                self._store.put(key, encode({"question": question}), {"owner": owner, "asked": time.time()})
        except (StoreError, CodecError) as error:
            _log.warning("A question is not noted, and will not be known after a restart: %s", error)

    def strike(self, key: str) -> None:
        """Take a question out: its job has ended."""
        try:
            self._store.delete(key)
        except StoreError as error:
            _log.warning("A question that has ended is still noted: %s", error)

    def interrupted(self, active: Callable[[str], bool]) -> list[Line]:
        """Questions that nobody works on any more, the latest first.

        Parameters
        ----------
        active : callable
            Whether a key waits or is worked on in this process.

        Raises
        ------
        StoreError
            The rows cannot be read.
        """
        found = []
        for entry in self._store.entries():
            if active(entry.key) or held(self._answers.directory / "locks", entry.key):
                continue
            if self._answers.has(entry.key):  # killed between its answer and this line
                self.strike(entry.key)
                continue
            row = self._store.read(entry.key, hit=False)
            try:
                about = entry.about
                found.append(Line(entry.key, decode(row.payload)["question"], str(about["owner"]), float(about["asked"])))
            except (CodecError, KeyError, TypeError, ValueError, AttributeError):  # damaged, or gone meanwhile
                self.strike(entry.key)
        return sorted(found, key=lambda line: -line.asked)
