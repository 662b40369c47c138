"""Which weights of a linear map become zero: masks by magnitude and by Wanda, and SparseGPT, which repairs the others.

Counts are exact and ties go to the lower index, so that a model is as sparse as it says. The reference implementations
prune whatever is at most a threshold, which is at least one weight more; ``compat`` does as they do.
"""

import numpy as np
import torch
from torch import Tensor

from measures.precision import at_least_float32
from plans.weights.sparsity import Sparsity, share
from refusal import Refusal

BLOCK = 128  # columns that SparseGPT prunes at a time
DAMPING = 0.01  # added to the diagonal of the Hessian, as a share of its mean


def check_group(width: int, sparsity: Sparsity, name: str) -> None:
    """Refuse N:M on a number of inputs that cannot be cut into groups of M."""
    if sparsity.group and width % sparsity.group:
        raise Refusal(
            f"{sparsity} prunes in groups of {sparsity.group} inputs, but {name} has {width}, which {sparsity.group} does "
            f"not divide. Give a share instead, as in w:{sparsity.method}@{sparsity.ratio:g}."
        )


def lowest(scores: Tensor, count: int) -> Tensor:
    """The ``count`` lowest of each row; of equal scores those that come first.

    Parameters
    ----------
    scores : float tensor of shape (..., n)

    Returns
    -------
    bool tensor of the same shape, with exactly ``count`` true values in each row
    """
    if not count:
        return torch.zeros_like(scores, dtype=torch.bool)
    limit = _kth(scores, count)
    found = scores <= limit
    # Without ties that is all. A GPU is not asked whether there are any: the answer would take longer than what follows.
    if scores.device.type == "cpu" and bool((found.sum(-1) == count).all()):
        return found
    below, level = scores < limit, scores == limit
    return below | (level & (level.cumsum(-1) <= count - below.sum(-1, keepdim=True)))


def magnitude_mask(weight: Tensor, sparsity: Sparsity, compat: bool = False) -> Tensor:
    """True where |w| is among the smallest of the matrix, or of its group.

    Parameters
    ----------
    weight : tensor of shape (out, in)
    compat : bool
        Prune |w| ≤ the value at place ⌊numel · ratio⌋, as the reference does: one weight more, and all ties.
    """
    scores = at_least_float32(weight).abs()
    if sparsity.group:
        return _grouped(scores, sparsity)
    return _overall(scores, share(weight.numel(), sparsity.ratio), compat)


def wanda_mask(weight: Tensor, squares: Tensor, sparsity: Sparsity) -> Tensor:
    """True where |w|·‖x‖ is among the smallest of its row, or of its group.

    Parameters
    ----------
    weight : tensor of shape (out, in)
    squares : tensor of shape (in,)
        Σx² over tokens, times any constant: it does not change the order inside a row.

    References
    ----------
    Wanda, arXiv 2306.11695, eq. 1.
    """
    scores = at_least_float32(weight).abs()
    scores = scores * squares.sqrt().to(scores)
    return _grouped(scores, sparsity) if sparsity.group else lowest(scores, share(weight.shape[1], sparsity.ratio))


def sparsegpt(weight: Tensor, hessian: Tensor, sparsity: Sparsity, compat: bool = False) -> Tensor:
    """The pruned matrix, whose remaining weights make up for the others as well as the inputs allow.

    Left to right, what a pruned weight added is handed to the columns after it, by the inverse of the Hessian. Weights
    whose input is always zero go first, but no more of them than is asked for.

    Parameters
    ----------
    weight : tensor of shape (out, in)
    hessian : tensor of shape (in, in)
        Σxxᵀ over tokens, times any constant.
    compat : bool
        As the reference does: in each block of columns prune score ≤ the value at place ⌊count · ratio⌋, and every
        weight whose input is always zero.

    Returns
    -------
    float64 tensor of shape (out, in), on the device of the Hessian

    Raises
    ------
    Refusal
        The Hessian cannot be inverted, or N:M does not divide the columns.

    Notes
    -----
    Holds three float64 matrices (in, in) at its peak.

    References
    ----------
    SparseGPT, arXiv 2301.00774, algorithm 1.
    """
    rows, width = weight.shape
    check_group(width, sparsity, "this linear map")
    columns = weight.to(hessian.device, torch.float64).T.contiguous()  # (in, out): one input's weights lie together
    hessian = hessian.to(torch.float64, copy=True)
    dead = hessian.diagonal() == 0
    hessian.diagonal().masked_fill_(dead, 1.0)
    factor = _inverse_factor(hessian)
    if compat:
        columns[dead] = 0.0
    factor.diagonal().masked_fill_(dead, torch.inf)  # a score of 0, and nothing to make up for
    step = BLOCK - BLOCK % sparsity.group if sparsity.group else BLOCK
    for start in range(0, width, step):
        stop = min(start + step, width)
        # Counted up to here, so that the blocks together prune exactly the share.
        count = share(rows * stop, sparsity.ratio) - share(rows * start, sparsity.ratio)
        errors = _prune_block(columns[start:stop], factor[start:stop, start:stop], sparsity, count, compat)
        columns[stop:] -= factor[start:stop, stop:].T @ errors
    return columns.T


def _prune_block(columns: Tensor, factor: Tensor, sparsity: Sparsity, count: int, compat: bool) -> Tensor:
    """Prune some columns in place, here (columns, out); what each lost, over its pivot, for the columns after."""
    group, scale = sparsity.group, factor.diagonal()[:, None]
    errors = torch.empty_like(columns)
    mask = None if group else _overall((columns / scale).square().T, count, compat).T
    for place in range(len(columns)):
        if group and place % group == 0:  # chosen when reached: the weights have changed on the way
            part = slice(place, place + group)
            chosen = lowest((columns[part] / scale[part]).square().T.contiguous(), sparsity.pruned).T
        pruned = chosen[place % group] if group else mask[place]
        errors[place] = torch.where(pruned, columns[place] / scale[place], 0.0)
        columns[place].masked_fill_(pruned, 0.0)
        columns[place + 1 :].addr_(factor[place, place + 1 :], errors[place], alpha=-1)
    return errors


def _inverse_factor(hessian: Tensor) -> Tensor:
    """Upper triangular U with UᵀU the inverse of the damped Hessian, which is overwritten."""
    damping = DAMPING * hessian.diagonal().mean()
    for _ in range(5):
        hessian.diagonal().add_(damping)
        lower, failed = torch.linalg.cholesky_ex(hessian)
        if not failed:
            lower, failed = torch.linalg.cholesky_ex(torch.cholesky_inverse(lower), upper=True)
        if not failed and bool(lower.diagonal().isfinite().all()):
            return lower
        damping = 10 * damping
    raise Refusal(
        "SparseGPT cannot invert the products of a linear map's inputs, even with much damping: the inputs are too large, "
        "or not numbers. Load the model in float32 or bfloat16, or use Wanda."
    )


def _grouped(scores: Tensor, sparsity: Sparsity) -> Tensor:
    check_group(scores.shape[1], sparsity, "this linear map")
    return lowest(scores.unflatten(1, (-1, sparsity.group)), sparsity.pruned).flatten(1)


def _overall(scores: Tensor, count: int, compat: bool) -> Tensor:
    flat = scores.flatten()  # by row, so that ties go to the lower row, then to the lower column
    if compat:
        return scores <= _kth(flat, min(count + 1, flat.numel()))
    return lowest(flat, count).view(scores.shape)


def _kth(scores: Tensor, count: int) -> Tensor:
    """The ``count``-th lowest of each row, of shape (..., 1)."""
    if scores.device.type == "cpu" and scores.shape[-1] > 64:  # five times as fast as torch, on long rows only
        return torch.from_numpy(np.partition(scores.numpy(), count - 1, axis=-1)[..., count - 1 : count].copy())
    return scores.kthvalue(count, dim=-1, keepdim=True).values
