"""Divergences of distributions over tokens."""

import torch
from torch import Tensor


def kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p‖q) in nats along the last axis, from float32 log-probabilities, summed in float64.

    Rounding can make it slightly negative where p = q; it is at least 0 by definition.
    """
    return (log_p.exp() * (log_p - log_q)).sum(-1, dtype=torch.float64).clamp_min(0)


_PARTIAL = 512  # products summed in float32 before float64 takes over: four times as fast, and right to 1e-8


def dot(x: Tensor, y: Tensor) -> Tensor:
    """⟨x, y⟩ along the last axis of float32 tensors (rows, vocab), in float64: partial sums of 512 products are float32."""
    whole = x.shape[-1] // _PARTIAL * _PARTIAL
    parts = [each[:, :whole].unflatten(-1, (-1, _PARTIAL)) for each in (x, y)]
    rest = (x[:, whole:] * y[:, whole:]).sum(-1, dtype=torch.float64)
    return torch.linalg.vecdot(*parts).sum(-1, dtype=torch.float64) + rest


class Softmax:
    """Logits as a distribution, computed once for every measure that needs it.

    Parameters
    ----------
    logits : tensor of shape (rows, vocab)
    room : float32 tensor of shape (rows, vocab), optional
        Where the weights are put: asking the system for fresh memory costs more than filling it.

    Attributes
    ----------
    logits : float32 tensor of shape (rows, vocab)
    weights : float32 tensor of shape (rows, vocab)
        exp(logits − their maximum); over ``total`` they are the probabilities.
    total : float64 tensor of shape (rows,)
    log_total : float64 tensor of shape (rows,)
        Logarithm of the sum of exp(logits).
    """

    def __init__(self, logits: Tensor, room: Tensor | None = None) -> None:
        self.logits = logits.float()
        most = self.logits.amax(-1, keepdim=True)
        self.weights = torch.sub(self.logits, most, out=room).exp_()
        self.total = self.weights.sum(-1, dtype=torch.float64)
        self.log_total = most[:, 0].double() + self.total.log()

    def nll(self, targets: Tensor) -> Tensor:
        """Negative log-likelihood in nats of one token per row."""
        return self.log_total - self.logits.gather(-1, targets[:, None])[:, 0].double()


def divergence(p: Softmax, q: Softmax, room: Tensor | None = None) -> Tensor:
    """KL(p‖q) in nats; at least 0, which rounding could miss where p = q. ``room`` as for `Softmax`."""
    change = torch.sub(p.logits, q.logits, out=room)
    return _forward(p, q, change).clamp_min(0)


def both_divergences(p: Softmax, q: Softmax, room: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """KL(p‖q) and KL(q‖p), each as `divergence` gives it."""
    change = torch.sub(p.logits, q.logits, out=room)
    reverse = p.log_total - q.log_total - dot(q.weights, change) / q.total
    return _forward(p, q, change).clamp_min(0), reverse.clamp_min(0)


def _forward(p: Softmax, q: Softmax, change: Tensor) -> Tensor:
    return dot(p.weights, change) / p.total - (p.log_total - q.log_total)
