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
