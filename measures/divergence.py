"""Divergences of distributions over tokens."""

import torch
from torch import Tensor


def kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p‖q) in nats along the last axis, from float32 log-probabilities, summed in float64.

    Rounding can make it slightly negative where p = q; it is at least 0 by definition.
    """
    return (log_p.exp() * (log_p - log_q)).sum(-1, dtype=torch.float64).clamp_min(0)
