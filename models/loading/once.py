"""Work that several threads ask for at the same time, done once: the others watch how far it is, and share what comes out."""

import threading
from collections.abc import Callable, Hashable
from typing import TypeVar

from refusal import Progress, Refusal

T = TypeVar("T")
_POLL = 0.2  # seconds between two looks, so that whoever waits can cancel


class _Flight:
    """One piece of work on its way; its thread writes it, others read."""

    def __init__(self) -> None:
        self.step: tuple[float, float, str] = (0, 0, "waiting for the same model")
        self.over = threading.Event()
        self.results: list = []  # one when it went well
        # A sentence and not the exception, whose traceback would hold whatever was half done.
        self.refusal: str | None = None


class Once:
    """Call it with a key and the work; equal keys at the same time are done once, on the thread of who came first.

    What is refused is refused to everybody. Work that ends otherwise, because who did it cancelled, is taken over by one of
    those who wait. What is done is not remembered.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[Hashable, _Flight] = {}

    def __call__(self, key: Hashable, work: Callable[[Progress], T], progress: Progress) -> T:
        """The result of ``work(progress)``, whoever does it."""
        while True:
            with self._lock:
                flight = self._running.get(key)
                if flight is None:
                    mine = self._running[key] = _Flight()
                    break
            while not flight.over.wait(_POLL):
                progress(*flight.step)
            if flight.refusal is not None:
                raise Refusal(flight.refusal)
            if flight.results:
                return flight.results[0]
        return self._lead(key, mine, work, progress)

    def _lead(self, key: Hashable, flight: _Flight, work: Callable[[Progress], T], progress: Progress) -> T:
        def report(*step: float | str) -> None:
            flight.step = step
            progress(*step)

        try:
            flight.results.append(work(report))
            return flight.results[0]
        except Refusal as refusal:
            flight.refusal = str(refusal)
            raise
        finally:
            with self._lock:
                del self._running[key]
            flight.over.set()
