"""How far a modified model is from the dense one: in hidden states h, logits z and probabilities p. Pure maths, in float64.

The dense side always comes first: KL is KL(dense‖modified), and the weights of the second-order estimates are the dense
probabilities. Whatever is given is widened to float64 before anything is computed. At V = 150 000 tokens of vocabulary the
variances are differences of large sums; half precision would give noise, and float32 about three digits of a KL of 1e-6.
A temperature T divides the logits of both sides before the softmax; Δz itself is never divided.

Functions
---------
`hidden_deviation` for h, `logit_deviation` for z and p: one float64 value per position and name. Both can be handed to
`measures.sums.Means.add` as they are.

References
----------
arXiv 2603.24652, theorems 1 to 3: second-order expansions of 1 − cos(h), 1 − cos(p) and KL in Δ.
"""

import math

import torch
from torch import Tensor
from torch.linalg import vecdot

from measures.precision import float64_device
from measures.vectors import EPS, cosine
from refusal import Refusal

HIDDEN = ("h_cosine", "h_estimate", "h_alpha", "h_parallel", "h_orthogonal")
LOGITS = (
    *("z_cosine", "z_estimate", "z_alpha", "z_parallel", "z_orthogonal", "uniform_variance"),
    *("p_cosine", "p_estimate", "kl", "reverse_kl", "kl_estimate"),
)


def checked_temperature(temperature: float) -> float:
    """The temperature itself, if logits can be divided by it.

    Raises
    ------
    Refusal
        It is zero, negative or no number, or so far from 1 that exponentials overflow.
    """
    if 0 < temperature < 0.01 or 100 < temperature < math.inf:
        raise Refusal(f"At a temperature of {temperature:g} numbers overflow. Write one from 0.01 to 100.")
    if not (math.isfinite(temperature) and temperature > 0):
        raise Refusal(
            f"At a temperature of {temperature:g} there are no probabilities to compare: logits are divided by it. Write a "
            "number above 0; 1 leaves the model's probabilities as they are."
        )
    return temperature


def hidden_deviation(dense: Tensor, modified: Tensor) -> dict[str, Tensor]:
    """What a modification does to a vector per position, in direction and length; Δh = modified − dense.

    Parameters
    ----------
    dense, modified : tensors of shape (…, width)

    Returns
    -------
    dict of float64 tensors of shape (…)
        ``h_cosine``: cos(h, h + Δh). ``h_estimate``: theorem 1, ‖Δh⊥‖² / (2‖h‖²), about 1 − ``h_cosine`` for small Δh.
        ``h_alpha``: ⟨Δh, h⟩ / ‖h‖², below 0 where the modification shortens h. ``h_parallel``: ‖αh‖ / ‖h‖.
        ``h_orthogonal``: ‖Δh − αh‖ / ‖h‖. A vector shorter than 1e-8 counts as one of that length.
    """
    h, delta = _wide(dense), _wide(modified) - _wide(dense)
    hh, dh = vecdot(h, h), vecdot(delta, h)
    orthogonal = delta - (dh / hh.clamp_min(EPS**2)).unsqueeze(-1) * h  # subtracted here, not in the squares: no cancellation
    return _parts("h", hh, dh, vecdot(delta, delta), vecdot(orthogonal, orthogonal))


def logit_deviation(dense: Tensor, modified: Tensor, temperature: float = 1.0) -> dict[str, Tensor]:
    """What a modification does to logits and to the probabilities they make; Δz = modified − dense.

    Parameters
    ----------
    dense, modified : tensors of shape (…, vocab)
        Logits before any temperature.
    temperature : float
        T > 0 of both softmaxes.

    Returns
    -------
    dict of float64 tensors of shape (…)
        ``z_cosine, z_estimate, z_alpha, z_parallel, z_orthogonal``: as `hidden_deviation`, of Δz.
        ``uniform_variance``: population variance of Δz with equal weights 1/vocab, raw; times 1 / (2T²) it stands beside
        the estimates. ``p_cosine``: cos(p, q) with p = softmax(dense / T), q = softmax(modified / T).
        ``p_estimate``: theorem 2, Var_r(Δz) / (2T²) with r = p² / Σp², about 1 − ``p_cosine`` for small Δz.
        ``kl, reverse_kl``: KL(p‖q) and KL(q‖p) in nats, at least 0.
        ``kl_estimate``: theorem 3, Var_p(Δz) / (2T²), about ``kl`` for small Δz.

    Raises
    ------
    Refusal
        The temperature is not above 0.

    Notes
    -----
    KL(p‖q) = ln Z_q − ln Z_p − E_p[Δz] / T, exactly; rounding leaves about 1e-15 of Δz / T in it.
    """
    checked_temperature(temperature)
    shape, vocab = dense.shape[:-1], dense.shape[-1]
    dense, modified = (side.to(float64_device(side.device)).reshape(-1, vocab) for side in (dense, modified))
    # One block of memory, so that all products with the same vector are read in one go.
    room = torch.empty(5, len(dense), vocab, dtype=torch.float64, device=dense.device)
    z, q, p, delta, weighted = room
    log_p, log_q = _softmax(z.copy_(dense), temperature, p), _softmax(delta.copy_(modified), temperature, q)
    delta -= z
    (zz,), (qq,), (pq, pp) = _products(room[:1], z), _products(room[1:2], q), _products(room[1:3], p)
    dz, dq, dp, dd = _products(room[:4], delta)
    found = _parts("z", zz, dz, dd, dd - dz.square() / zz.clamp_min(EPS**2))
    found["uniform_variance"] = (dd / vocab - delta.mean(-1).square()).clamp_min(0)
    found["p_cosine"] = cosine(pq, pp, qq)
    found["kl"] = (log_q - log_p - dp / temperature).clamp_min(0)
    found["reverse_kl"] = (dq / temperature - (log_q - log_p)).clamp_min(0)

    delta -= dp.unsqueeze(-1)  # a shift common to all tokens changes no variance, and would drown a small one
    torch.mul(p, delta, out=weighted)
    wp, wd, ww = _products(room[2:], weighted)
    found["kl_estimate"] = wd / (2 * temperature**2)
    found["p_estimate"] = (ww / pp - (wp / pp).square()).clamp_min(0) / (2 * temperature**2)
    return {name: value.reshape(shape) for name, value in found.items()}


def _parts(name: str, xx: Tensor, dx: Tensor, dd: Tensor, orthogonal: Tensor) -> dict[str, Tensor]:
    """Direction and length from ⟨x,x⟩, ⟨Δ,x⟩, ⟨Δ,Δ⟩ and the square of the part of Δ that is orthogonal to x."""
    orthogonal, size = orthogonal.clamp_min(0), xx.clamp_min(EPS**2)
    return {
        f"{name}_cosine": cosine(xx + dx, xx, xx + 2 * dx + dd),
        f"{name}_estimate": orthogonal / (2 * size),
        f"{name}_alpha": dx / size,
        f"{name}_parallel": (dx / size).abs(),
        f"{name}_orthogonal": (orthogonal / size).sqrt(),
    }


def _softmax(logits: Tensor, temperature: float, out: Tensor) -> Tensor:
    """Probabilities into ``out``; returns the logarithm of what they were divided by, read off at the likeliest token."""
    scaled = logits if temperature == 1 else logits / temperature
    torch.softmax(scaled, -1, out=out)
    return scaled.amax(-1) - out.amax(-1).log()


def _products(rows: Tensor, vector: Tensor) -> Tensor:
    """Scalar products of k vectors with one, at each position: (k, positions, vocab), (positions, vocab) → (k, positions)."""
    if rows.device.type == "cpu":  # there one product after the other is faster than all of them as a batch
        return torch.stack([rows[:, i] @ one for i, one in enumerate(vector)], -1)
    return vecdot(rows, vector)


def _wide(values: Tensor) -> Tensor:
    return values.to(float64_device(values.device), torch.float64)
