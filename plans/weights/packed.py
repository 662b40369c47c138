"""Pruned weights of one block as arrays that can be stored, and back: bits for what is kept, values only where they changed."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.linears import Linear
from refusal import Refusal


def pack(weights: dict[str, Tensor], values: bool) -> dict[str, dict[str, Any]]:
    """Pruned weights as arrays that can be stored: which ones are kept and, with ``values``, what they are.

    Returns
    -------
    dict of str to dict
        ``shape`` (list of int), ``kept`` (uint8, eight weights a byte) and, where weights were changed, ``values``: those
        kept, two-byte types as uint16 because numpy has no bfloat16.
    """
    stored: dict[str, dict[str, Any]] = {}
    for name, weight in weights.items():
        kept = weight != 0
        stored[name] = {"shape": list(weight.shape), "kept": np.packbits(kept.cpu().numpy())}
        if values:
            changed = weight[kept].cpu()
            stored[name]["values"] = (changed.view(torch.uint16) if changed.element_size() == 2 else changed).numpy()
    return stored


def put(maps: Sequence[Linear], stored: dict[str, dict[str, Any]], layer: int) -> None:
    """Give the linear maps of a block their pruned weights; the inverse of `pack`.

    Raises
    ------
    Refusal
        They were packed from another model.
    """
    for linear in maps:
        if linear.name in stored:
            linear.put_weight(_unpacked(linear, stored[linear.name], layer))


def _unpacked(linear: Linear, parts: dict[str, Any], layer: int) -> Tensor:
    dense = linear.weight
    if list(dense.shape) != list(parts["shape"]):
        raise Refusal(
            f"{linear.name} of layer {layer} is {list(dense.shape)}, but it was pruned as {parts['shape']}. Calibrate this "
            "model again."
        )
    bits = np.unpackbits(parts["kept"], count=dense.numel()).astype(bool).reshape(dense.shape)
    kept = torch.from_numpy(bits).to(dense.device)
    if "values" not in parts:
        return torch.where(kept, dense, torch.zeros_like(dense)).detach()
    values, weight = torch.from_numpy(parts["values"]), torch.zeros_like(dense)
    weight[kept] = (values.view(dense.dtype) if values.dtype == torch.uint16 else values).to(dense.device)
    return weight.detach()
