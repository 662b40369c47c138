"""What people write about plans: a name, a note, the plan it was made from, and whether it is pinned.

It lies beside the answers and not among them: answers can be computed again, and what somebody wrote cannot.
"""

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace

from cache.codec import encode
from cache.store import Store
from probes.base import from_dict
from probes.known import Known
from refusal import Refusal
from settings import data_directory

_NAME, _NOTE = 80, 2000  # characters


@dataclass(frozen=True)
class Noted:
    """What is written about one plan; ``changed`` is in unix seconds."""

    plan: str
    name: str = ""
    note: str = ""
    parent: str = ""
    pinned: bool = False
    changed: float = 0.0

    def __post_init__(self) -> None:
        for what, text, most in (("name", self.name, _NAME), ("note", self.note, _NOTE), ("parent", self.parent, _NOTE)):
            if len(text) > most:
                raise Refusal(f"The {what} has {len(text):,} characters. Write at most {most:,}.")


def called(plan: str, notes: Mapping[str, Noted]) -> str:
    """A plan by its name and text, as a list shows it."""
    name = notes[plan].name if plan in notes else ""
    return f"{name} · {plan}" if name else plan


def open_book() -> Store:
    """Where notes are kept, in the data directory."""
    return Store(data_directory() / "plans")


class Book:
    """The notes on the plans of one model.

    Parameters
    ----------
    store : Store
        See `open_book`.
    fingerprint : str
        Of the model.
    """

    def __init__(self, store: Store, fingerprint: str) -> None:
        self._store, self._fingerprint = store, fingerprint

    def notes(self) -> dict[str, Noted]:
        """All notes, by plan."""
        found = {}
        for entry in self._store.entries(lambda about: about.get("of") == self._fingerprint):
            with suppress(TypeError, Refusal):  # a row that is no note
                noted = _noted(entry.about)
                found[noted.plan] = noted
        return found

    def note(self, plan: str) -> Noted:
        """The note on a plan; an empty one where nothing was written."""
        about = self._store.about(self._key(plan))
        with suppress(TypeError, Refusal):
            return _noted(about or {})
        return Noted(plan)

    def write(self, noted: Noted) -> None:
        """Keep a note in the place of the plan's former one."""
        about = asdict(replace(noted, changed=time.time())) | {"of": self._fingerprint}
        self._store.put(self._key(noted.plan), encode({}), about)

    def forget(self, plan: str, known: Known) -> int:
        """Forget the note on a plan and all answers about it on this model; returns how many answers those were.

        Raises
        ------
        Refusal
            It is pinned.
        """
        if self.note(plan).pinned:
            raise Refusal(f"{plan} is pinned. Take the pin off first.")
        self._store.delete(self._key(plan))
        # A search's answer is about many plans and stays; the table leaves out what it says of this one.
        about = {"forgotten_of": self._fingerprint, "plan": plan, "at": time.time()}
        self._store.put(f"forgotten {self._fingerprint} {plan}", encode({}), about)
        return known.forget(self._fingerprint, plan)

    def forgotten(self) -> dict[str, float]:
        """When plans were forgotten, in unix seconds."""
        rows = [entry.about for entry in self._store.entries(lambda about: about.get("forgotten_of") == self._fingerprint)]
        return {str(row.get("plan")): row["at"] for row in rows if isinstance(row.get("at"), int | float)}

    def _key(self, plan: str) -> str:
        return f"note {self._fingerprint} {plan}"


def _noted(about: dict) -> Noted:
    return from_dict(Noted, {name: about[name] for name in asdict(Noted("")) if name in about})
