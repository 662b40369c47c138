"""How much of one person waits and runs: the operator may limit it, so that nobody keeps the machine from the others."""

import threading
from collections import defaultdict
from collections.abc import Callable

import streamlit as st

from pages.serving.people import Person
from refusal import Refusal, plural
from settings import settings

Active = Callable[[], bool]  # whether something that was begun still waits or runs


class Quota:
    """What each person has begun and has not ended, in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the next one
        self._begun: dict[str, dict[object, Active]] = defaultdict(dict)

    def taken(self, name: str, beside: object) -> int:
        """How much of it still waits or runs beside one thing."""
        with self._lock:
            left = {key: active for key, active in self._begun[name].items() if active()}
            self._begun[name] = left
            return len(left.keys() - {beside})

    def note(self, name: str, key: object, active: Active) -> None:
        """Count something in."""
        with self._lock:
            self._begun[name][key] = active


@st.cache_resource(show_spinner=False)
def quota() -> Quota:
    """The one of this process."""
    return Quota()


def counted(person: Person, key: object, start: Callable[[], Active]) -> None:
    """Begin something for a person, unless too much of theirs waits and runs already.

    Parameters
    ----------
    key : object
        What is begun; asked again while it runs, it counts once.
    start : callable
        Begins it; returns a callable that tells whether it still waits or runs.

    Raises
    ------
    Refusal
        It says the limit, and what to do; or `start` refuses.
    """
    most = settings().jobs
    if most is not None and quota().taken(person.name, key) >= most:
        raise Refusal(
            f"You already have {plural(most, 'job')} queued or running, the most one person may have. Wait for one to finish, "
            "or cancel it."
        )
    quota().note(person.name, key, start())
