"""Long work beside the pages: each answer is computed once, with progress, an estimate of the end, and cancel.

A job belongs to its key: whoever asks the same question while it runs gets the same job, and it goes on until none of them
wants it any more. People take turns. A lock file per key does the same between processes; it is free again when a process dies.
Threads are daemons: the process may end at any moment, and the store then holds the whole answer or none.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cache.job import Cancelled, Job, Standing
from cache.lock import only_one, sweep
from cache.queue import Turns
from cache.store import Store, StoreError

__all__ = ["Cancelled", "Job", "Jobs", "Standing", "sentence"]

Progress = Callable[[float, float, str], None]
Work = Callable[[Progress], tuple[bytes, dict] | None]
UNKEPT = 8  # answers held in memory while the disk is full
YIELD = 10.0  # seconds that a job waits at most between two batches for something live
KEPT = 100  # finished jobs remembered, so that a page can still say why one failed
ELSEWHERE = "another process is computing this answer"
_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory")
_log = logging.getLogger(__name__)


class Jobs:
    """Runs work one at a time (a model owns the cores) and puts its answers into a store.

    Parameters
    ----------
    store : Store
    workers : int
        How many jobs may run at once.
    clock : callable
        Seconds that never jump; tests give their own.
    """

    def __init__(self, store: Store, workers: int = 1, clock: Callable[[], float] = time.monotonic) -> None:
        self.store, self._workers, self._clock = store, workers, clock
        self._locks = store.directory / "locks"
        self._changed = threading.Condition()  # guards the next five
        self._jobs: dict[str, Job] = {}
        self._waiting: Turns[tuple[Job, Work, str]] = Turns()
        self._live = 0  # how many live answers go first
        self._threads: list[threading.Thread] = []
        self._open = True
        self._unkept: dict[str, tuple[bytes, dict]] = {}  # touched by one thread per key, which holds the key's lock
        sweep(self._locks)

    def submit(
        self,
        key: str,
        label: str,
        work: Work,
        elsewhere: str = ELSEWHERE,
        owner: str = "",
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
            if job is not None and job.active and not job.cancelling:
                if job._ask(owner) and job.state == "queued":
                    self._waiting.add(owner, (job, work, elsewhere))
                return job
            if not self._open:
                raise RuntimeError("PruneScope is shutting down and takes no more questions.")
            known = self.store.has(key)
            job = Job(key, label, self._clock, lambda job: on_end(job) if self._open else None)
            job._ask(owner)
            self._remember(job)
            if known:
                job._finish("done")
            else:
                self._waiting.add(owner, (job, work, elsewhere))
                self._call_worker()
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
            queued = list(dict.fromkeys(each for each, _, _ in self._waiting.order() if each.state == "queued"))
            running = sum(each.state == "running" for each in self._jobs.values())
        return running + queued.index(job) if job in queued else None

    @contextmanager
    def goes_first(self) -> Iterator[None]:
        """While something live is at work, such as an answer that somebody watches: jobs wait between two batches.

        A job waits for `YIELD` seconds at most, and then works for as long as it waited before it waits again, so it is
        slowed and never stopped.
        """
        with self._changed:
            self._live += 1
        try:
            yield
        finally:
            with self._changed:
                self._live -= 1
                self._changed.notify_all()

    def _progress_of(self, job: Job) -> Progress:
        """What a job calls between batches."""
        resumed, rested = self._clock(), 0.0

        def progress(done: float, total: float, text: str) -> None:
            nonlocal resumed, rested
            job._progress(done, total, text)
            begun = self._clock()
            if self._live and begun - resumed >= rested:
                job._progress(done, total, f"{text} (a live answer goes first)")
                with self._changed:
                    while self._live and not job.cancelling and self._clock() - begun < YIELD:
                        self._changed.wait(0.1)  # nobody tells of a cancel
                resumed = self._clock()
                rested = resumed - begun
                job._progress(done, total, text)

        return progress

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
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(timeout)

    def _remember(self, job: Job) -> None:
        self._jobs.pop(job.key, None)  # so that an asked-again job is listed last
        self._jobs[job.key] = job
        # the lock of a Condition may be taken again by the thread that holds it
        self.forget(keep=KEPT)

    def _call_worker(self) -> None:
        """Wake a worker, or start one: no thread exists before there is work."""
        self._changed.notify()
        if len(self._threads) < self._workers:
            thread = threading.Thread(target=self._serve, name=f"job-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self) -> None:
        """Run queued jobs until shutdown."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or not self._open)
                if not self._waiting:
                    return
                taken = self._waiting.next()
            self._run(*taken)
            del taken  # the work holds a model; waiting for the next one must not keep it in memory

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
                answer = self._unkept.pop(job.key, None)
                if answer is None:
                    answer = work(self._progress_of(job))
                if answer is not None:
                    self._keep(job.key, answer)

    def _keep(self, key: str, answer: tuple[bytes, dict]) -> None:
        """Store an answer; one that the store does not take waits in memory for the next time it is asked."""
        try:
            self.store.put(key, *answer)
        except StoreError as error:
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
