"""Loaded models, shared by everybody who works with them: a model is leased, never passed around.

Several models live together while they fit the memory that models may take. To make room, those that nobody holds are let go,
the least recently leased first; nothing is let go while somebody holds it.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from models.loading.identity import identify
from models.loading.load import Wanted, present, read, understood
from models.loading.memory import format_bytes, spread, taken
from models.loading.once import Once
from models.residents import Entry, Resident, Residents, too_large
from models.subject import ModelRef, Subject
from refusal import Progress, Refusal, silent

_POLL = 0.2  # seconds between two words to somebody who waits, who can then cancel


class _AtWork:
    """Who works with models in this process; what is timed asks whether somebody else did meanwhile."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads: list[int] = []
        self._begun = 0

    @contextmanager
    def counted(self, thread: int) -> Iterator[None]:
        """Count a thread in, also while its model is being loaded."""
        with self._lock:
            self._threads.append(thread)
            self._begun += 1
        try:
            yield
        finally:
            with self._lock:
                self._threads.remove(thread)

    def seen(self) -> tuple[int, int]:
        with self._lock:
            return len({*self._threads} - {threading.get_ident()}), self._begun


_AT_WORK = _AtWork()


def others_at_work() -> tuple[int, int]:
    """Threads of this process beside the calling one that hold a model or wait for one, and all leases taken so far."""
    return _AT_WORK.seen()


class Leases:
    """The models in the memory of this process.

    Parameters
    ----------
    budget : callable, optional
        Bytes that models may take in all, by memory: ``cpu`` or ``cuda``. By default what the operator set in
        PRUNESCOPE_MEMORY, else a share of what is free or taken by models already.
    """

    def __init__(self, budget: Callable[[str], int] | None = None) -> None:
        self._changed = threading.Condition()  # guards the residents; never held while a model is loaded
        self._residents = Residents(budget)
        self._once = Once()

    @contextmanager
    def lease(self, ref: ModelRef, progress: Progress = silent) -> Iterator[Subject]:
        """The model for as long as the block lasts; it is loaded if it is not there, on the caller's thread.

        Parameters
        ----------
        progress : Progress
            Called while the model is loaded and while there is no room for it; what it raises cancels that. Two who each
            hold a model and ask for another can wait for each other: this is the way out.

        Raises
        ------
        Refusal
            The model cannot be loaded, or is larger than what models may take.
        """
        thread = threading.get_ident()
        with _AT_WORK.counted(thread):
            entry = self._taken(ref, thread, progress)
            try:
                yield replace(entry.subject, ref=ref)
            finally:
                with self._changed:
                    self._residents.put_back(entry.key, thread)
                    self._changed.notify_all()

    def residents(self) -> list[Resident]:
        """What is loaded now, the least recently leased first."""
        with self._changed:
            return [entry.resident() for entry in self._residents.entries.values()]

    def resident(self, fingerprint: str) -> bool:
        """Whether a model is loaded, on whichever device."""
        with self._changed:
            return any(known == fingerprint for known, _ in self._residents.entries)

    def release(self, fingerprint: str | None = None) -> int:
        """Let go of one model, or of all, unless somebody holds it; returns how many went."""
        with self._changed:
            gone = self._residents.let_go([key for key in self._residents.idle() if fingerprint in (None, key[0])])
            self._changed.notify_all()
            return gone

    def room(self, place: str) -> int:
        """Bytes that models may take on a device in all, those that are loaded included."""
        with self._changed:
            if place == "split" and torch.cuda.is_available():
                return self._residents.limit("cpu") + self._residents.limit("cuda")
            return self._residents.limit("cuda" if place == "cuda" else "cpu")

    def _taken(self, ref: ModelRef, thread: int, progress: Progress) -> Entry:
        """The model with one holder more."""
        if entry := self._known(ref, thread):
            return entry
        wanted = self._once(ref, lambda report: self._prepared(ref, report), progress)
        loaded: list[Entry] = []
        while True:
            if entry := self._hold(wanted, ref, thread):
                return entry
            key = wanted.fingerprint, wanted.expected.device
            self._once(key, lambda report: loaded.append(self._load(wanted, ref, thread, report)), progress)
            if loaded:  # by this thread, which holds it already; else by another one, so look again
                return loaded[0]

    def _known(self, ref: ModelRef, thread: int) -> Entry | None:
        """A resident that this very reference was leased as, and whose files are still the same."""
        with self._changed:
            place = next((entry.place for entry in self._residents.entries.values() if ref in entry.refs), None)
        if place is None:
            return None
        try:
            fingerprint = identify(ref)
        except Refusal:  # its files are gone or broken; loading them says how
            return None
        with self._changed:
            return self._residents.hold(fingerprint, ref, place, thread)

    def _prepared(self, ref: ModelRef, progress: Progress) -> Wanted:
        """What can be known, fetched and refused before anybody has to give up memory for it."""
        wanted = understood(ref, progress, self.room)
        if not wanted.expected.fits and not self._by_another_name(ref):
            raise too_large(ref, wanted.expected, wanted.expected.free)
        return present(wanted, progress)

    def _by_another_name(self, ref: ModelRef) -> bool:
        """Whether the same weights are loaded already, so that they need no room."""
        try:
            return self.resident(identify(ref))
        except Refusal:  # not on this machine, so it is not loaded either
            return False

    def _hold(self, wanted: Wanted, ref: ModelRef, thread: int) -> Entry | None:
        with self._changed:
            return self._residents.hold(wanted.fingerprint, ref, wanted.expected.device, thread)

    def _load(self, wanted: Wanted, ref: ModelRef, thread: int, progress: Progress) -> Entry:
        if entry := self._hold(wanted, ref, thread):  # somebody was faster
            return entry
        self._reserve(wanted, thread, progress)
        entry = None
        try:
            subject = read(wanted, progress)
            entry = Entry(ref, subject, wanted.expected.device, taken(subject.model))
            return entry
        finally:
            with self._changed:  # at once, or others would count it twice, or not at all
                del self._residents.reserved[wanted.fingerprint, wanted.expected.device]
                if entry is not None:
                    self._residents.put(entry, ref, thread)
                self._changed.notify_all()

    def _reserve(self, wanted: Wanted, thread: int, progress: Progress) -> None:
        """Set memory aside for a model that is to be loaded; wait while others hold what it needs."""
        expected = wanted.expected
        needs = spread(expected.device, expected.needs, self.room)
        while True:
            with self._changed:
                gone = self._residents.in_the_way(needs, wanted.ref, expected, thread)
                if gone is not None:
                    self._residents.reserved[wanted.fingerprint, expected.device] = wanted.ref, needs
                    self._residents.let_go(gone)
                    return
                busy = self._residents.busy(needs)
            progress(0, 0, f"waiting for {format_bytes(expected.needs)}: {busy}")
            with self._changed:
                self._changed.wait(_POLL)
