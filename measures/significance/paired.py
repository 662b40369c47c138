"""Two models on the same items: is one better, or is that chance?"""

import numpy as np
from scipy.stats import binomtest


def mcnemar(first: np.ndarray, second: np.ndarray) -> float:
    """Exact McNemar test: the chance of items that only one gets right being shared out so unevenly, were both equally good.

    Parameters
    ----------
    first, second : bool arrays of shape (items,)
        Which items each gets right.

    Returns
    -------
    float
        Two-sided p; 1 where they differ on no item.

    References
    ----------
    McNemar (1947), Psychometrika 12; in its exact form a sign test on the items on which they differ.
    """
    only_first, only_second = int(np.sum(first & ~second)), int(np.sum(~first & second))
    if only_first + only_second == 0:
        return 1.0
    return float(binomtest(only_first, only_first + only_second).pvalue)


LEAST, _CHANCE = 6, 0.05  # below six samples, all of them on one side are no rarer than 5 % by chance


def verdict(difference: float, low: float, high: float, samples: int, p: float | None = None) -> int:
    """Which of two models is larger: 1 the second, −1 the first, 0 if that cannot be told.

    Parameters
    ----------
    difference, low, high : float
        Mean of second less first over samples, and its 95 % bootstrap interval.
    samples : int
        Below six the interval says nothing: with all differences on one side it never holds 0.
    p : float, optional
        Of a test that counts instead of the interval.
    """
    told = p < _CHANCE if p is not None else samples >= LEAST and (low > 0 or high < 0)
    return int(np.sign(difference)) if told else 0


def in_words(found: int, difference: float, samples: int, p: float | None = None) -> str:
    """What to say where `verdict` found nothing."""
    if found:
        return ""
    if samples < LEAST and p is None:
        return "too few windows to tell"
    return "no difference" if difference == 0 and p in (None, 1.0) else "no significant difference"
