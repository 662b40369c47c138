"""What negative log-likelihoods say."""

import numpy as np


def perplexity(nll: np.ndarray | float) -> np.ndarray:
    """exp of a mean negative log-likelihood in nats, of the same shape; infinite where float64 cannot hold it."""
    with np.errstate(over="ignore"):
        return np.exp(nll)
