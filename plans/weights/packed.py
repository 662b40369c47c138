"""Pruned weights as arrays that can be stored, and back: bits for what is kept, values only where they changed."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.linears import refuse_offloaded, weight_of
from refusal import Refusal


def pack(weights: dict[str, Tensor], method: str) -> dict[str, dict[str, Any]]:
    """Pruned weights as arrays that can be stored: which ones are kept, and for SparseGPT their values.

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
        if method == "sparsegpt":
            values = weight[kept].cpu()
            stored[name]["values"] = (values.view(torch.uint16) if values.element_size() == 2 else values).numpy()
    return stored


def unpack(stored: dict[str, dict[str, Any]], model: nn.Module) -> dict[str, Tensor]:
    """The pruned weights again, on the dense model's devices; the inverse of `pack`.

    Raises
    ------
    Refusal
        They were packed from another model.
    """
    weights: dict[str, Tensor] = {}
    for name, parts in stored.items():
        dense = weight_of(model, name)
        refuse_offloaded(dense)
        if list(dense.shape) != list(parts["shape"]):
            raise Refusal(f"{name} is {list(dense.shape)}, but it was pruned as {parts['shape']}. Calibrate this model again.")
        bits = np.unpackbits(parts["kept"], count=dense.numel()).astype(bool).reshape(dense.shape)
        kept = torch.from_numpy(bits).to(dense.device)
        if "values" in parts:
            values = torch.from_numpy(parts["values"])
            weights[name] = torch.zeros_like(dense)
            weights[name][kept] = (values.view(dense.dtype) if values.dtype == torch.uint16 else values).to(dense.device)
        else:
            weights[name] = torch.where(kept, dense, torch.zeros_like(dense)).detach()
    return weights
