"""What a probe has summed up so far: kept while it runs, so that one that was interrupted goes on after its last window."""

import time
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any, Protocol, TypeVar

from refusal import Progress, Refusal

_PAUSE = 2.0  # seconds between two writes at least
_SHARE = 20  # and so many times as long as the last one took: at most a twentieth of the time is spent on it
_END = "end"
_DAMAGE = (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError)  # of what fits no sums; Refusal is one


class Sums(Protocol):
    """What is summed up over windows."""

    def state(self) -> dict[str, Any]:
        """All of it, as JSON values and numpy arrays by name."""

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`; the values come back as they were, tuples as lists."""


S = TypeVar("S", bound=Sums)


class Interim:
    """Sums that are kept while they grow.

    Parameters
    ----------
    kept : mutable mapping of str to dict, optional
        Where the pieces go, each by its name; without it, nothing is kept.
    clock : callable
        Seconds, monotonic.
    """

    def __init__(
        self, kept: MutableMapping[str, dict[str, Any]] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._kept = kept
        self._clock, self._next = clock, clock() + _PAUSE
        self._late: tuple[int, Sums, str] | None = None  # what is not written yet

    def taken_up(self, fresh: Callable[[], S], name: str = "") -> tuple[int, S]:
        """Sums, and how many windows are in them: those that were kept, or 0 and fresh ones.

        Parameters
        ----------
        fresh : callable
            Gives empty sums.
        name : str
            Of the sums, where a probe has several, one after the other.
        """
        sums = fresh()
        if self._kept is None:
            return 0, sums
        try:
            end = self._kept[name + _END]
            sums.restore({piece: self._kept[f"{name}{end['windows']} {piece}"]["is"] for piece in end["pieces"]})
            return int(end["windows"]), sums
        except (Refusal, *_DAMAGE):  # nothing was kept, some of it was forgotten, or it is damaged
            return 0, fresh()

    def keep(self, windows: int, sums: Sums, name: str = "") -> None:
        """Keep sums that have so many windows in them, unless the last write is not long ago.

        Until the next call they must be whole whenever the probe calls its progress: `flush` may be called there.
        """
        if self._kept is None:
            return
        if self._late is not None and self._late[2] != name:
            self.flush()
        self._late = windows, sums, name
        if self._clock() >= self._next:
            self.flush()

    def flush(self) -> None:
        """Write what was not written yet, as the work ends here."""
        if self._late is None:
            return
        begun = self._clock()
        self._write(*self._late)
        self._late, now = None, self._clock()
        self._next = now + max(_PAUSE, _SHARE * (now - begun))

    def watched(self, progress: Progress) -> Progress:
        """A progress that writes the sums when it ends the work."""

        def step(done: float, total: float, text: str) -> None:
            try:
                progress(done, total, text)
            except BaseException:
                self.flush()
                raise

        return step

    def forget(self) -> None:
        """The answer is there, so nobody needs the sums."""
        self._late = None
        for piece in list(self._kept or ()):
            del self._kept[piece]

    def _write(self, windows: int, sums: Sums, name: str) -> None:
        state = sums.state()
        for piece, value in state.items():
            self._kept[f"{name}{windows} {piece}"] = {"is": value}
        self._kept[name + _END] = {"windows": windows, "pieces": list(state)}  # from here on it is this state that counts
        for piece in self._older(name, f"{name}{windows} "):
            del self._kept[piece]

    def _older(self, name: str, now: str) -> Iterator[str]:
        return (
            piece for piece in list(self._kept)
            if piece.startswith(name) and piece[len(name) :][:1].isdigit() and not piece.startswith(now)
        )  # fmt: skip
