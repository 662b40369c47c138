"""Divergences of distributions over tokens."""

import torch
from torch import Tensor

from measures.vectors import largest


def kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p‖q) in nats along the last axis, from float32 log-probabilities, summed in float64.

    Rounding can make it slightly negative where p = q; it is at least 0 by definition.
    """
    return (log_p.exp() * (log_p - log_q)).sum(-1, dtype=torch.float64).clamp_min(0)


_PARTIAL = 512  # values summed in float32 before float64 takes over: four times as fast, and right to 1e-8


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
    top : int64 tensor of shape (rows, 1)
        The likeliest token, see `measures.vectors.largest`.
    """

    def __init__(self, logits: Tensor, room: Tensor | None = None) -> None:
        self.logits = logits.float()
        most, self.top = largest(self.logits, 1)
        self.weights = torch.sub(self.logits, most[:, :1], out=room).exp_()
        self.total = _sum(self.weights)
        self.log_total = most[:, 0].double() + self.total.log()

    def nll(self, targets: Tensor) -> Tensor:
        """Negative log-likelihood in nats of one token per row."""
        return self.log_total - self.logits.gather(-1, targets[:, None])[:, 0].double()


def _sum(x: Tensor) -> Tensor:
    """Σ x of float32 rows in float64, partial sums of 512 in float32."""
    whole = x.shape[-1] // _PARTIAL * _PARTIAL
    return x[:, :whole].unflatten(-1, (-1, _PARTIAL)).sum(-1).sum(-1, dtype=torch.float64) + x[:, whole:].double().sum(-1)


def divergence(p: Softmax, q: Softmax, room: Tensor | None = None) -> Tensor:
    """KL(p‖q) in nats; at least 0, which rounding could miss where p = q. ``room`` as for `Softmax`."""
    change = torch.sub(p.logits, q.logits, out=room)
    return _forward(p, q, change).clamp_min(0)


def _forward(p: Softmax, q: Softmax, change: Tensor) -> Tensor:
    return dot(p.weights, change) / p.total - (p.log_total - q.log_total)


class Room:
    """Memory to compare rows of logits in: asking the system for fresh memory costs more than filling it.

    Parameters
    ----------
    rows, vocab : int
        Most rows at a time, and how long they are.
    """

    def __init__(self, rows: int, vocab: int, device: torch.device) -> None:
        # The weights of both, the difference of their logits, and ones; zeros behind the vocabulary add nothing.
        self.rows = torch.zeros((4, rows, -(-vocab // _PARTIAL) * _PARTIAL), device=device)
        self.rows[3] = 1


class Comparison:
    """Two softmaxes over the same vocabulary: every sum of products that their measures need, in one matrix product.

    512 products at a time are summed in float32 and those sums in float64: a KL is right to about 1e-7 per row.

    Parameters
    ----------
    pair : tensor of shape (2, rows, vocab)
        Logits p and q.
    likeliest : int
        How many of the likeliest tokens are wanted.

    Attributes
    ----------
    kl, reverse_kl : float64 tensors of shape (rows,)
        KL(p‖q) and KL(q‖p) in nats; at least 0, which rounding could miss.
    squares : pair of float64 tensors of shape (rows,)
        Of the lengths of both rows of logits.
    logit_product, weight_product : float64 tensors of shape (rows,)
        Scalar products of the logits, and of exp(logits − their maximum).
    weight_squares : pair of float64 tensors of shape (rows,)
    top : pair of int64 tensors of shape (rows, likeliest or fewer)
    """

    def __init__(self, pair: Tensor, room: Room, likeliest: int = 1) -> None:
        self._logits, (_, count, vocab) = pair.float(), pair.shape
        rows = room.rows[:, :count]
        found, places = (each.unflatten(0, (2, -1)) for each in largest(self._logits.flatten(0, 1), likeliest))
        torch.sub(self._logits, found[..., :1], out=rows[:2, :, :vocab]).exp_()
        torch.sub(*self._logits, out=rows[2, :, :vocab])
        sums = _products(rows)
        self.top = tuple(places)
        self._log_totals = [found[i, :, 0].double() + sums[:, i, 3].log() for i in range(2)]
        apart = self._log_totals[0] - self._log_totals[1]
        self.kl = (sums[:, 0, 2] / sums[:, 0, 3] - apart).clamp_min(0)
        self.reverse_kl = (apart - sums[:, 1, 2] / sums[:, 1, 3]).clamp_min(0)
        self.squares = tuple(_square(self._logits))
        self.logit_product = (sum(self.squares) - sums[:, 2, 2]) / 2
        self.weight_product, self.weight_squares = sums[:, 0, 1], (sums[:, 0, 0], sums[:, 1, 1])

    def nll(self, which: int, targets: Tensor) -> Tensor:
        """Negative log-likelihood in nats of one token per row: 0 by the first, 1 by the second."""
        return self._log_totals[which] - self._logits[which].gather(-1, targets[:, None])[:, 0].double()


def _products(rows: Tensor) -> Tensor:
    """Scalar products of vectors, float32 (vectors, rows, n blocks long), row by row: float64 (rows, vectors, vectors)."""
    vectors, count, _ = rows.shape
    blocks = rows.unflatten(-1, (-1, _PARTIAL)).flatten(1, 2).transpose(0, 1)
    return torch.bmm(blocks, blocks.mT).view(count, -1, vectors, vectors).sum(1, dtype=torch.float64)


def _square(x: Tensor) -> Tensor:
    """⟨x, x⟩ along the last axis of float32 tensors, in float64."""
    whole = x.shape[-1] // _PARTIAL * _PARTIAL
    parts = torch.linalg.vector_norm(x[..., :whole].unflatten(-1, (-1, _PARTIAL)), dim=-1).double().square().sum(-1)
    return parts + x[..., whole:].double().square().sum(-1)
