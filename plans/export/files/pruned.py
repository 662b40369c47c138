"""The pruned weights that a plan learned, put onto the tensors of a checkpoint, one at a time."""

from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.families import Family
from models.families.checkpoints import linear_of
from plans.export.files.stored import Change, Stored
from plans.operation import Pieces
from refusal import Refusal


class Pruned:
    """What becomes of stored tensors under an operation that prunes weights.

    Parameters
    ----------
    learned : Pieces
        By dense layer index as text; read layer by layer.
    computed : torch.dtype
        What the weights were learned in.
    """

    def __init__(self, family: Family, learned: Pieces, computed: torch.dtype) -> None:
        self._family, self._computed = family, computed
        self._layer = lru_cache(maxsize=1)(lambda layer: learned.get(layer, {}))
        # Experts are stored one by one, and learned in one piece.
        self._bits = lru_cache(maxsize=2)(self._unpacked)

    def change(self, each: Stored) -> Change | None:
        """What happens to a stored tensor; None: nothing. What was learned of its layer is read when it is its turn."""
        if each.layer is None:
            return None
        return lambda tensor: self._changed(each, *linear_of(self._family, each.inside), tensor)

    def _changed(self, each: Stored, name: str, part: tuple[Any, ...], tensor: Tensor) -> Tensor:
        if name not in self._layer(str(each.layer)):
            return tensor
        kept, values = (None if whole is None else _part(whole, part) for whole in self._bits(each.layer, name))
        if kept.shape != tensor.shape:
            raise Refusal(f"{each.name} is {list(tensor.shape)}, but it was pruned as {list(kept.shape)}. Calibrate again.")
        return torch.where(kept, tensor, torch.zeros_like(tensor)) if values is None else values.to(tensor.dtype)

    def _unpacked(self, layer: int, name: str) -> tuple[Tensor, Tensor | None]:
        """Which weights of a linear map are kept, and all of its values where they changed."""
        piece = self._layer(str(layer))[name]
        shape = tuple(piece["shape"])
        kept = torch.from_numpy(np.unpackbits(piece["kept"], count=prod(shape)).astype(bool).reshape(shape))
        if "values" not in piece:
            return kept, None
        values = torch.from_numpy(piece["values"])
        whole = torch.zeros(shape, dtype=self._computed)
        whole[kept] = values.view(self._computed) if values.dtype == torch.uint16 else values
        return kept, whole


def _part(whole: Tensor, part: tuple[Any, ...]) -> Tensor:
    if not part:
        return whole
    expert, rows = part
    return whole[expert] if rows == "all" else whole[expert].chunk(2)[rows == "second"]
