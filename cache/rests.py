"""Long work gives way to short work.

While something live is at work on a device, such as an answer that somebody watches, its jobs rest between two batches. And
threads that compute leave the processor to those that draw pages.
"""

import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from cache.job import Job

YIELD = 10.0  # seconds that a job rests at most between two batches
SWITCH = 0.0005  # seconds
# Steps of priority that a job, and an answer that somebody watches, stand behind the pages. Few: torch's threads wait for the
# slowest of them, so with ten steps a job starves beside any other program that keeps one core busy.
COMPUTING, LIVE = 1, 0


def stand_behind(steps: int) -> None:
    """Let this thread, and the threads and processes that it starts from now on, run after the others of this process.

    Nothing changes while a core is free, and torch's own threads come from the one that first computes. Only Linux gives each
    thread a priority.
    """
    # A thread that draws a page lets go of Python's lock hundreds of times, whenever it tells the browser something or looks at
    # a file, and would wait 5 ms each time until a thread that computes gives it back.
    sys.setswitchinterval(SWITCH)
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with suppress(OSError):  # a container may forbid it
            os.setpriority(os.PRIO_PROCESS, thread, min(19, os.getpriority(os.PRIO_PROCESS, thread) + steps))


class Rests:
    """What is live now, by device.

    A job rests for `YIELD` seconds at most, and then works for as long as it rested before it rests again, so it is slowed and
    never stopped.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._changed = threading.Condition()  # guards the next one
        self._live: Counter[str] = Counter()

    @contextmanager
    def live(self, device: str) -> Iterator[None]:
        """While this lasts, jobs on a device rest between two batches."""
        with self._changed:
            self._live[device] += 1
        try:
            yield
        finally:
            with self._changed:
                self._live[device] -= 1
                self._changed.notify_all()

    def progress_of(self, job: Job) -> Callable[[float, float, str], None]:
        """What a job calls between batches."""
        resumed, rested = self._clock(), 0.0

        def progress(done: float, total: float, text: str) -> None:
            nonlocal resumed, rested
            job._progress(done, total, text)
            begun = self._clock()
            if self._live[job.device] and begun - resumed >= rested:
                job._progress(done, total, f"{text} (a live answer goes first)")
                with self._changed:
                    while self._live[job.device] and not job.cancelling and self._clock() - begun < YIELD:
                        self._changed.wait(0.1)  # nobody tells of a cancel
                resumed = self._clock()
                rested = resumed - begun
                job._progress(done, total, text)

        return progress
