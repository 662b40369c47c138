"""Deviations from their definitions, one position at a time, in float64 numpy."""

import numpy as np


def cosine(x, y):
    """cos(x, y)."""
    return x @ y / np.sqrt((x @ x) * (y @ y))


def slow_hidden(h, changed):
    """Every measure of a hidden state."""
    delta = changed - h
    alpha = delta @ h / (h @ h)
    apart = delta - alpha * h
    return {
        "h_cosine": cosine(h, changed),
        "h_estimate": apart @ apart / (2 * h @ h),
        "h_alpha": alpha,
        "h_parallel": np.linalg.norm(alpha * h) / np.linalg.norm(h),
        "h_orthogonal": np.linalg.norm(apart) / np.linalg.norm(h),
    }


def slow_logits(z, changed, t=1.0):
    """Every measure of logits and of the probabilities they make at temperature t."""
    p, q = (np.exp(x / t - (x / t).max()) for x in (z, changed))
    p, q = p / p.sum(), q / q.sum()
    delta, r = changed - z, p**2 / (p**2).sum()

    def variance(weights):
        return weights @ (delta - weights @ delta) ** 2

    return {name.replace("h_", "z_"): value for name, value in slow_hidden(z, changed).items()} | {
        "uniform_variance": np.var(delta),
        "p_cosine": cosine(p, q),
        "p_estimate": variance(r) / (2 * t**2),
        "kl": (p * (np.log(p) - np.log(q))).sum(),
        "reverse_kl": (q * (np.log(q) - np.log(p))).sum(),
        "kl_estimate": variance(p) / (2 * t**2),
    }
