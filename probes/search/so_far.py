"""What a search has measured so far, from what it keeps: shown while it runs, and after it was stopped."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from measures.fronts import pareto_front
from plans.plan import parse
from probes.search.budget import Budget
from refusal import Refusal


@dataclass(frozen=True)
class SoFar:
    """Plans that were measured on every window they are chosen on, and which of them nothing beats.

    Attributes
    ----------
    plans : list of str
    saved, kl : float64 arrays of shape (plans,)
        What each saves as a share of the dense model, and its mean KL in nats on the choosing windows.
    front : bool array of shape (plans,)
    tried : int
        Plans known on some window.
    """

    plans: list[str]
    saved: np.ndarray
    kl: np.ndarray
    front: np.ndarray
    tried: int


def so_far(pieces: Iterable[Mapping[str, Any]], limits: Budget, windows: int) -> SoFar | None:
    """What pieces of `probes.search.measured.Measured` tell; None: no plan is known on every window yet.

    Parameters
    ----------
    limits : Budget
        Of the model; plans that begin with something else than its base are left out.
    windows : int
        The first so many are those to choose on; fewer, where the text has not so many.
    """
    rows: dict[str, dict[int, float]] = {}
    for piece in pieces:
        for plan, row in zip(piece["plans"], piece["rows"], strict=True):
            rows.setdefault(plan, {})[int(piece["window"])] = float(row[0])
    if rows:  # most plans are measured on the choosing windows and on no other
        counts = Counter(map(len, rows.values()))
        windows = min(windows, max(counts, key=lambda count: (counts[count], count)))
    known = {plan: each for plan, each in rows.items() if plan and _fits(plan, limits) and set(range(windows)) <= set(each)}
    if not known:
        return None
    kl = np.array([np.mean([each[window] for window in range(windows)]) for each in known.values()])
    saved = np.array([limits.saved(parse(plan)) / limits.total for plan in known])
    return SoFar(list(known), saved, kl, pareto_front(kl, -saved), len(rows))


def _fits(plan: str, limits: Budget) -> bool:
    try:
        return parse(plan) | limits.base == parse(plan)
    except Refusal:
        return False
