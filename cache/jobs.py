"""Long work beside the pages: each answer is computed once, with progress, an estimate of the end, and cancel.

A job belongs to its key: whoever asks the same question while it runs gets the same job, and it goes on until none of them
wants it any more. Each device has a queue of its own, in which people take turns. A lock file per key lets no two processes
compute the same; it is free again when a process dies. Threads are daemons: the process may end at any moment, and the store
then holds the whole answer or none.
"""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractContextManager

from cache.job import Cancelled, Job, Standing
from cache.lock import only_one, sweep
from cache.queue import Turns
from cache.rests import COMPUTING, Rests, stand_behind
from cache.store import Store, StoreError

__all__ = ["Cancelled", "Job", "Jobs", "Standing", "sentence"]

Progress = Callable[[float, float, str], None]
Work = Callable[[Progress], tuple[bytes, dict] | None]
UNKEPT = 8  # answers held in memory while the disk is full
KEPT = 100  # finished jobs remembered, so that a page can still say why one failed
ELSEWHERE = "another process is computing this answer"
_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory")
_log = logging.getLogger(__name__)


class Jobs:
    """Runs work, on each device one at a time (a model owns its cores), and puts its answers into a store.

    Parameters
    ----------
    store : Store
    clock : callable
        Seconds that never jump; tests give their own.
    """

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self.store, self._clock, self._rests = store, clock, Rests(clock)
        self._locks = store.directory / "locks"
        self._changed = threading.Condition()  # guards the next five
        self._jobs: dict[str, Job] = {}
        self._waiting: defaultdict[str, Turns[tuple[Job, Work, str]]] = defaultdict(Turns)  # by device
        self._threads: dict[str, threading.Thread] = {}  # of each device that has work
        self._open = True
        self._unkept: dict[str, tuple[bytes, dict]] = {}
        sweep(self._locks)

    def submit(
        self,
        key: str,
        label: str,
        work: Work,
        elsewhere: str = ELSEWHERE,
        owner: str = "",
        device: str = "",
        on_end: Callable[[Job], None] = lambda job: None,
    ) -> Job:
        """Ask for an answer.

        Parameters
        ----------
        key : str
            Name of the question.
        label : str
            What to call it on a page.
        work : callable
            Called with ``progress(done, total, text)``, which it calls between batches; returns the answer's bytes and
            what to say about it (JSON values), or None if there is nothing to store, as after loading a model. Such a
            job runs again when it is asked again.
        elsewhere : str
            What the job says while another process does the same work.
        owner : str
            Who asks. People take turns; a job that somebody else asked for already waits in the turns of both.
        device : str
            Whose queue it waits in; what is asked of one device does not wait for another.
        on_end : callable
            Called once when a new job is done, failed or cancelled, but not when the process ends before that.

        Returns
        -------
        Job
            The one already queued or running for this key, unless it is being cancelled; else one that is done at once
            if the store has the answer; else a new one.

        Raises
        ------
        StoreError
            When the store cannot be read.
        """
        with self._changed:
            job = self._jobs.get(key)
            if job is not None and (new := job._join(owner)) is not None:
                if new and job.state == "queued":
                    self._waiting[job.device].add(owner, (job, work, elsewhere))
                return job
            if not self._open:
                raise RuntimeError("PruneScope is shutting down and is taking no more questions.")
            known = self.store.has(key)
            job = Job(key, label, self._clock, lambda job: on_end(job) if self._open else None, device)
            job._join(owner)
            self._remember(job)
            if known:
                job._finish("done")
            else:
                self._waiting[device].add(owner, (job, work, elsewhere))
                self._call_worker(device)
            return job

    def get(self, key: str) -> Job | None:
        """Find the latest job of a key; None if it was never asked or is forgotten."""
        with self._changed:
            return self._jobs.get(key)

    def list(self) -> list[Job]:
        """List all remembered jobs, in the order they were asked."""
        with self._changed:
            return list(self._jobs.values())

    def ahead(self, job: Job) -> int | None:
        """How many jobs run or will run before a queued one; None if it does not wait."""
        with self._changed:
            turns = self._waiting[job.device].order() if job.device in self._waiting else []
            queued = list(dict.fromkeys(each for each, _, _ in turns if each.state == "queued"))
            running = sum(each.state == "running" and each.device == job.device for each in self._jobs.values())
        return running + queued.index(job) if job in queued else None

    def goes_first(self, device: str = "") -> AbstractContextManager[None]:
        """While something live is at work on a device, such as an answer that somebody watches: its jobs rest meanwhile."""
        return self._rests.live(device)

    def forget(self, keep: int = 0) -> None:
        """Forget the finished jobs but the last ``keep``; their answers stay in the store."""
        with self._changed:
            finished = [key for key, job in self._jobs.items() if not job.active]
            for key in finished[: max(0, len(finished) - keep)]:
                del self._jobs[key]

    def shutdown(self, timeout: float | None = 5.0) -> None:
        """Cancel everything, take nothing more, and wait up to ``timeout`` seconds per thread for the work to stop."""
        with self._changed:
            self._open = False
            for job in self._jobs.values():
                job.cancel()
            threads = list(self._threads.values())
        for thread in threads:
            thread.join(timeout)

    def _remember(self, job: Job) -> None:
        self._jobs.pop(job.key, None)  # so that an asked-again job is listed last
        self._jobs[job.key] = job
        # the lock of a Condition may be taken again by the thread that holds it
        self.forget(keep=KEPT)

    def _call_worker(self, device: str) -> None:
        """Let a thread work for a device, unless one does: it ends when nothing waits there."""
        if device not in self._threads:
            thread = threading.Thread(target=self._serve, args=(device,), name=f"job {device}".strip(), daemon=True)
            thread.start()  # it waits for the lock that is held here
            self._threads[device] = thread

    def _serve(self, device: str) -> None:
        """Run what waits for a device until nothing does."""
        stand_behind(COMPUTING)
        while True:
            with self._changed:
                if not self._waiting[device]:
                    del self._waiting[device], self._threads[device]
                    return
                taken = self._waiting[device].next()
            self._run(*taken)
            del taken  # the work may hold a model, which must not stay in memory until the next one is taken

    def _run(self, job: Job, work: Work, elsewhere: str) -> None:
        """Run one job. The only place that catches everything: it shows what it caught."""
        if not job._start():
            return
        try:
            self._compute(job, work, elsewhere)
        except Cancelled:
            job._finish("cancelled", error=job._why)
        except BaseException as error:  # SystemExit too: a job must never stay "running" when nobody runs it
            _log.exception("Job %s (%s) failed", job.label, job.key)
            job._finish("failed", error=sentence(error))
        else:
            job._finish("done")

    def _compute(self, job: Job, work: Work, elsewhere: str) -> None:
        """Compute and store the answer, unless another process has done so by the time we hold the lock of the key."""
        with only_one(self._locks, job.key, lambda: job._progress(0.0, 0.0, elsewhere)):
            if not self.store.has(job.key):
                with self._changed:
                    answer = self._unkept.pop(job.key, None)
                if answer is None:
                    answer = work(self._rests.progress_of(job))
                if answer is not None:
                    self._keep(job.key, answer)

    def _keep(self, key: str, answer: tuple[bytes, dict]) -> None:
        """Store an answer; one that the store does not take waits in memory for the next time it is asked."""
        try:
            self.store.put(key, *answer)
        except StoreError as error:
            with self._changed:
                self._unkept[key] = answer
                while len(self._unkept) > UNKEPT:
                    del self._unkept[next(iter(self._unkept))]
            raise StoreError(f"{error} The answer is held in memory: ask again, and it only has to be stored.") from error


def sentence(error: BaseException) -> str:
    """Say to the person why work failed."""
    text = str(error)
    if isinstance(error, MemoryError) or any(sign in text.lower() for sign in _MEMORY):
        reason = f" ({text.splitlines()[0]})" if text else ""
        return f"There is not enough memory. Use fewer windows, shorter windows or a smaller dtype.{reason}"
    # ours speak to the person; a KeyError without its name would only say 'x'
    return text if text and isinstance(error, ValueError | RuntimeError) else f"{type(error).__name__}: {text}"
