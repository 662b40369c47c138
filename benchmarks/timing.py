"""Measuring works side by side, and the lines that say what came out.

Times of a shared machine drift, so the works take turns (A B C C B A …) and what is reported is the ratio of their medians.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median

Times = dict[str, list[float]]


@dataclass(frozen=True)
class Line:
    """One number of the report.

    Attributes
    ----------
    what, unit : str
    value : float
    most, least : float or None
        The target; None: there is none, the number is there for comparison.
    note : str
        How it spread, or what it consists of.
    """

    what: str
    value: float
    unit: str = "×"
    most: float | None = None
    least: float | None = None
    note: str = ""

    @property
    def target(self) -> str:
        """The target in words."""
        if self.most is not None:
            return f"at most {self.most:g} {self.unit}"
        return "" if self.least is None else f"at least {self.least:g} {self.unit}"

    @property
    def mark(self) -> str:
        """``pass`` or ``over``; of a number without target nothing."""
        if self.most is None and self.least is None:
            return ""
        kept = (self.most is None or self.value <= self.most) and (self.least is None or self.value >= self.least)
        return "pass" if kept else "over"

    def __str__(self) -> str:
        return f"{self.mark:<5}{self.what:<72}{self.value:8.2f} {self.unit:<3} {self.target:<16} {self.note}".rstrip()


def in_turns(rounds: int, works: dict[str, Callable[[], object]]) -> Times:
    """Seconds of each work in each round; every work runs once before, unmeasured."""
    for work in works.values():
        work()
    times: Times = {name: [] for name in works}
    for place in range(rounds):
        for name in turn(works, place):
            times[name].append(seconds(works[name]))
    return times


def turn(names: Iterable[str], place: int) -> list[str]:
    """Every second turn goes backwards, so that nobody always finds the memory that the same other one has warmed."""
    return list(names)[:: -1 if place % 2 else 1]


def seconds(work: Callable[[], object]) -> float:
    """How long one call takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def ratio(times: Times, one: str, other: str, what: str = "", **target: float) -> Line:
    """Median of ``one`` over median of ``other``, with the quartiles of the ratios of single turns."""
    single = sorted(a / b for a, b in zip(times[one], times[other], strict=True))
    low, high = single[len(single) // 4], single[-1 - len(single) // 4]
    value = median(times[one]) / median(times[other])
    note = f"[{low:.2f} to {high:.2f}]  {format_median(times[one])} against {format_median(times[other])}"
    return Line(what or f"{one} ÷ {other}", value, note=note, **target)


def format_median(times: list[float]) -> str:
    """The median as a person says it: 35 ms, 7.21 s."""
    middle = median(times)
    return f"{middle:.2f} s" if middle >= 1 else f"{middle * 1e3:.3g} ms"
