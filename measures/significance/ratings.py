"""From pairwise votes to rates and strengths."""

import numpy as np

_PRIOR = 0.5
_ROUNDS, _STRIDE, _NEAR = 100, 2.0, 1e-10  # at most; a step's length at most; the step after which it is the maximum


def bradley_terry(wins: np.ndarray) -> np.ndarray:
    """Strengths of models from how often each was preferred to each other one.

    Parameters
    ----------
    wins : array of shape (..., models, models)
        ``wins[i, j]``: how often i was preferred to j; a tie counts as half for both.

    Returns
    -------
    float64 array of shape (..., models)
        θ in log-odds, that of the first model 0: σ(θ_i − θ_j) is the chance that i is preferred to j.

    Notes
    -----
    Every pair that met is given one tie more, so that a model that never lost has a finite strength. A model that nothing
    links to the first one, by itself or by way of others, has NaN.

    References
    ----------
    Bradley, Terry (1952), Biometrika 39. The logarithm of the likelihood is concave, and Newton's method climbs it.
    """
    wins = np.asarray(wins, dtype=np.float64)
    met = wins + wins.swapaxes(-1, -2) > 0
    linked, each = _linked(met), np.eye(wins.shape[-1])
    wins = (wins + _PRIOR) * (met & linked[..., None])
    games = wins + wins.swapaxes(-1, -2)
    # slopes add up to 0, so a one here keeps the first model at 0, and those that nothing links to it where they are
    held = each * (~linked | (each[0] > 0))[..., None]
    theta = np.zeros(wins.shape[:-1])
    for _ in range(_ROUNDS):
        chance = 1 / (1 + np.exp(theta[..., None, :] - theta[..., :, None]))
        slope, weight = (wins - games * chance).sum(-1), games * chance * (1 - chance)
        step = np.linalg.solve(each * weight.sum(-1)[..., None] - weight + held, slope[..., None])[..., 0]
        longest = np.abs(step).max(-1, keepdims=True)
        theta = theta + step * np.minimum(1, _STRIDE / np.maximum(longest, _NEAR))
        if longest.max(initial=0.0) < _NEAR:
            break
    return np.where(linked, theta - theta[..., :1], np.nan)


def _linked(met: np.ndarray) -> np.ndarray:
    """Which models can be reached from the first one, by pairs that met; (..., models, models) → (..., models)."""
    reached = met | np.eye(met.shape[-1], dtype=bool)
    for _ in range(met.shape[-1].bit_length()):
        reached = reached @ reached
    return reached[..., 0, :] & met.any(-1)
