"""From pairwise votes to rates and strengths."""

import numpy as np

_ROUNDS, _PRIOR = 300, 0.5


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
    Every pair that met is given one tie more, so that a model that never lost has a finite strength. A model that nobody
    compared has NaN.

    References
    ----------
    Bradley, Terry (1952), Biometrika 39; Hunter (2004), Annals of Statistics 32: the minorise–maximise iteration.
    """
    wins = np.asarray(wins, dtype=np.float64)
    met = wins + wins.swapaxes(-1, -2) > 0
    wins = wins + _PRIOR * met
    games, own = wins + wins.swapaxes(-1, -2), wins.sum(-1)
    strength = np.ones(own.shape)
    for _ in range(_ROUNDS):
        sums = strength[..., :, None] + strength[..., None, :]
        with np.errstate(invalid="ignore", divide="ignore"):
            strength = own / (games / sums).sum(-1)
        strength = np.where(own > 0, strength, 1.0)
        strength = strength / np.exp(np.log(strength).mean(-1, keepdims=True))
    theta = np.where(met.any(-1), np.log(strength), np.nan)
    return theta - theta[..., :1]
