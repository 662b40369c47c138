"""Times of two models that were taken in turns, compared round by round."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from measures.significance.intervals import bootstrap

SAME = "no difference measured"


@dataclass(frozen=True)
class Pace:
    """One phase, dense against pruned.

    Attributes
    ----------
    dense_seconds, seconds : list of float
        By round: of a whole prefill, or of one step of decoding, the mean over the steps of the round.
    dense, dense_low, dense_high, pruned, pruned_low, pruned_high : float
        Median and quartiles of these, in seconds.
    dense_rate, rate : float
        Tokens per second, all sequences together, at the median.
    ratio, ratio_low, ratio_high : float
        Median over rounds of dense ÷ pruned, above 1 where the plan is faster, and its bootstrap interval of 95 %.
    says : str
        The verdict: an interval that contains 1 is no difference.
    """

    dense_seconds: list[float]
    seconds: list[float]
    dense: float
    dense_low: float
    dense_high: float
    pruned: float
    pruned_low: float
    pruned_high: float
    dense_rate: float
    rate: float
    ratio: float
    ratio_low: float
    ratio_high: float
    says: str


def pace(dense: Sequence[float], pruned: Sequence[float], tokens: int) -> Pace:
    """Compare the times of a phase, round by round; ``tokens`` are read in each of these times."""
    dense, pruned = np.asarray(dense, float), np.asarray(pruned, float)
    ratios = dense / pruned
    low, high = (float(end) for end in bootstrap(ratios, np.median))
    (a, b, c), (d, e, f) = (np.quantile(each, [0.25, 0.5, 0.75]).tolist() for each in (dense, pruned))
    ratio = float(np.median(ratios))
    return Pace(
        dense_seconds=dense.tolist(),
        seconds=pruned.tolist(),
        dense=b,
        dense_low=a,
        dense_high=c,
        pruned=e,
        pruned_low=d,
        pruned_high=f,
        dense_rate=tokens / b,
        rate=tokens / e,
        ratio=ratio,
        ratio_low=low,
        ratio_high=high,
        says=_verdict(ratio, low, high),
    )


def _verdict(ratio: float, low: float, high: float) -> str:
    if low <= 1 <= high:
        return SAME
    return f"{ratio:.2f} times as fast as dense ({low:.2f} to {high:.2f})"
