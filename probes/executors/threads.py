"""Questions answered in this process, by whichever thread asks; the models are here."""

from collections.abc import Iterator
from typing import Any

from cache.store import Store
from models.lease import Leases
from models.residents import Resident
from models.subject import ModelRef
from plans.export.export import Exported, Order
from probes.answer import answer
from probes.export import run as run_export
from probes.generation.writing import Writing, Written, written
from probes.known import Known
from probes.question import Asked, Question, resolve
from refusal import Progress


class Threads:
    """What an executor can do; another one does the same elsewhere."""

    def __init__(self, store: Store, known: Known) -> None:
        self._store, self._known = store, known
        self.leases = Leases()

    def answer(self, asked: Asked, progress: Progress) -> tuple[bytes, dict[str, Any]] | None:
        """The bytes of an answer and what is said about it; None: they are in the store already."""
        return answer(asked, self.leases.lease, self._store, progress)

    def load(self, ref: ModelRef, progress: Progress) -> None:
        """Bring a model into memory, and note what it is made of."""
        with self.leases.lease(ref, progress) as subject:
            self._known.note(ref, subject.fingerprint)
            asked = resolve(Question("anatomy", ref), lambda _: subject.fingerprint)
            if self._store.about(asked.key) is None:
                progress(0, 0, "counting parameters")
                self._store.put(asked.key, *answer(asked, self.leases.lease, self._store, progress))

    def at_once(self, asked: Asked) -> None:
        """Answer what takes less than 0.1 s, if the model is in memory; else do nothing."""
        # By the reference that it was leased as: another one may ask for another device, and load it there.
        here = next((each.ref for each in self.residents() if each.fingerprint == asked.fingerprint), None)
        if here is not None:
            self._store.put(asked.key, *answer(asked, lambda _, progress: self.leases.lease(here, progress), self._store))

    def export(self, order: Order, progress: Progress) -> Exported:
        """Write a plan as a checkpoint."""
        return run_export(order, self._known, self.leases, progress)

    def write(self, writing: Writing, progress: Progress) -> Iterator[Written]:
        """Tokens of several views in turns; closing the iterator ends it."""
        return written(writing, self.leases.lease, self._store, self._known.identify, progress)

    def residents(self) -> list[Resident]:
        """The models in memory, the least recently used first."""
        return self.leases.residents()

    def release(self, fingerprint: str | None = None) -> int:
        """Let go of one model, or of all, unless somebody uses it; returns how many went."""
        return self.leases.release(fingerprint)
