"""What is loaded, who holds it, and what has to go to make room: the state behind leases, for one thread at a time."""

import gc
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch

from models.loading.memory import Estimate, allowed, format_bytes
from models.subject import ModelRef, Subject
from refusal import Refusal

Key = tuple[str, str]  # fingerprint and place
Memory = dict[str, int]  # bytes of each memory: cpu, cuda


@dataclass(frozen=True)
class Resident:
    """A loaded model at this moment.

    Attributes
    ----------
    ref : ModelRef
        As it was asked for last.
    bytes : int
        Of its weights.
    place : str
        cpu, cuda, mps or split.
    dtype : str
        What it computes in.
    holders : int
        Leases that are running.
    seconds_idle : float
        Since the last lease ended; 0 while there is one.
    """

    ref: ModelRef
    fingerprint: str
    bytes: int
    place: str
    dtype: str
    holders: int
    seconds_idle: float


@dataclass(eq=False)
class Entry:
    """A loaded model as it is kept.

    Attributes
    ----------
    refs : set of ModelRef
        Those that mean this model; when there is none left its files have changed, and it goes when nobody holds it.
    holders : list of int
        The thread of each lease.
    since : float
        When the last lease ended, by the monotonic clock.
    """

    ref: ModelRef
    subject: Subject
    place: str
    memory: Memory
    refs: set[ModelRef] = field(default_factory=set)
    holders: list[int] = field(default_factory=list)
    since: float = field(default_factory=time.monotonic)

    @property
    def key(self) -> Key:
        """Two names of the same weights are one model; the same weights in two dtypes, or on two devices, are two."""
        return self.subject.fingerprint, self.place

    def resident(self) -> Resident:
        """A snapshot of it."""
        idle = 0.0 if self.holders else time.monotonic() - self.since
        dtype, size = str(self.subject.dtype).removeprefix("torch."), sum(self.memory.values())
        return Resident(self.ref, self.subject.fingerprint, size, self.place, dtype, len(self.holders), idle)


class Residents:
    """The loaded models, the least recently leased first, and what is set aside for those on their way in."""

    def __init__(self, budget: Callable[[str], int] | None) -> None:
        self.entries: dict[Key, Entry] = {}
        self.reserved: dict[Key, tuple[ModelRef, Memory]] = {}
        self._budget = budget

    def hold(self, fingerprint: str, ref: ModelRef, place: str, thread: int) -> Entry | None:
        """One holder more, if it is there; whoever leaves the choice of device takes the model wherever it is."""
        places = [where for known, where in self.entries if known == fingerprint]
        if place not in places and not (ref.device == "auto" and places):
            return None
        entry = self.entries.pop((fingerprint, place if place in places else places[0]))
        return self.put(entry, ref, thread)

    def put(self, entry: Entry, ref: ModelRef, thread: int) -> Entry:
        """Keep a model that ``ref`` means and ``thread`` holds; what the same ref meant before has lost its files."""
        self.entries[entry.key] = entry
        entry.holders.append(thread)
        entry.ref = ref
        entry.refs.add(ref)
        for other in self.entries.values():
            if other.subject.fingerprint != entry.subject.fingerprint:
                other.refs.discard(ref)
        self._let_stale_go()
        return entry

    def put_back(self, key: Key, thread: int) -> None:
        """One holder less."""
        self.entries[key].holders.remove(thread)
        self.entries[key].since = time.monotonic()
        self._let_stale_go()

    def let_go(self, keys: list[Key]) -> int:
        """Forget models, by their keys so that nothing here refers to them, and give their memory back."""
        for key in keys:
            del self.entries[key]
        if keys:
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        return len(keys)

    def idle(self) -> list[Key]:
        """The models that nobody holds."""
        return [key for key, entry in self.entries.items() if not entry.holders]

    def limit(self, memory: str) -> int:
        """Bytes that models may take of a memory in all."""
        if self._budget is not None:
            return self._budget(memory)
        return allowed(memory, sum(entry.memory.get(memory, 0) for entry in self.entries.values()))

    def in_the_way(self, needs: Memory, ref: ModelRef, expected: Estimate, thread: int) -> list[Key] | None:
        """What has to be let go to make room; None: others have to let go first.

        Raises
        ------
        Refusal
            The model is too large, alone or beside those that the same thread holds.
        """
        gone: list[Key] = []
        for memory, size in needs.items():
            limit = self.limit(memory)
            mine = [entry for entry in self.entries.values() if thread in entry.holders and entry.memory.get(memory)]
            if size + sum(entry.memory[memory] for entry in mine) > limit:
                raise too_large(ref, expected, limit, [entry.ref for entry in mine])
            taken = {key: entry.memory.get(memory, 0) for key, entry in self.entries.items() if key not in gone}
            over = size + sum(taken.values()) + sum(kept.get(memory, 0) for _, kept in self.reserved.values()) - limit
            for key in self.idle():
                if over > 0 and taken.get(key):
                    over -= taken[key]
                    gone.append(key)
            if over > 0:
                return None
        return gone

    def busy(self, needs: Memory) -> str:
        """Who takes the memory that is waited for: "*llama-8b* is answering"."""
        held = [entry.ref for entry in self.entries.values() if entry.holders and needs.keys() & entry.memory.keys()]
        coming = [ref for ref, kept in self.reserved.values() if needs.keys() & kept.keys()]
        said = ((held, "answering"), (coming, "being loaded"))
        return ", ".join(f"{_named(refs)} {'is' if len(refs) == 1 else 'are'} {doing}" for refs, doing in said if refs)

    def _let_stale_go(self) -> None:
        self.let_go([key for key in self.idle() if not self.entries[key].refs])


def too_large(ref: ModelRef, expected: Estimate, limit: int, beside: Iterable[ModelRef] = ()) -> Refusal:
    """Why a model cannot be loaded even when all others go, but for those ``beside`` it that its own thread holds."""
    held = f", beside {_named(beside)}, which the same work needs" if beside else ""
    return Refusal(
        f"{ref.name} needs {format_bytes(expected.needs)} in {expected.dtype}, and {format_bytes(limit)} is free on "
        f"{expected.device}{held}. Choose bfloat16, another device or a smaller model, or raise PRUNESCOPE_MEMORY."
    )


def _named(refs: Iterable[ModelRef]) -> str:
    return " and ".join(f"*{ref.name.rstrip('/').rpartition('/')[2]}*" for ref in refs)
