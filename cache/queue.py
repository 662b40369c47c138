"""Whose work is next: people take turns, so ten questions of one do not keep another's one waiting."""

from collections import OrderedDict, deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Turns(Generic[T]):
    """Work that waits, by who asked for it. Not guarded: whoever holds it has a lock.

    Whoever was served last is served again when everybody else who waits has been; the work of one person keeps its order.
    """

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, deque[T]] = OrderedDict()  # who is next stands first

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, owner: str, work: T) -> None:
        """Let something of somebody wait."""
        self._waiting.setdefault(owner, deque()).append(work)

    def next(self) -> T:
        """Take out whatever comes next; IndexError where nothing waits."""
        if not self._waiting:
            raise IndexError("Nothing waits.")
        owner, works = self._waiting.popitem(last=False)
        work = works.popleft()
        if works:
            self._waiting[owner] = works  # behind everybody else
        return work

    def order(self) -> list[T]:
        """Everything that waits, in the order in which it will be taken if nobody adds anything."""
        rounds = max(map(len, self._waiting.values()), default=0)
        return [works[turn] for turn in range(rounds) for works in self._waiting.values() if turn < len(works)]
