"""Pareto fronts: of many candidates, those that no other candidate beats."""

from collections.abc import Sequence

import numpy as np


def pareto_front(*costs: np.ndarray | Sequence[float]) -> np.ndarray:
    """Which candidates no other one beats: as good in every cost and better in one.

    Parameters
    ----------
    costs : arrays of the same shape
        What each candidate costs in one respect; lower is better.

    Returns
    -------
    bool array of that shape
        Equal candidates do not beat each other, so both can be on the front. One with a NaN is never on it.
    """
    values = np.stack([np.asarray(cost, float).ravel() for cost in costs])
    one, other = values[:, :, None], values[:, None, :]
    beaten = ((other <= one).all(0) & (other < one).any(0)).any(-1)
    return (~beaten & ~np.isnan(values).any(0)).reshape(np.shape(costs[0]))
