"""Numbers that are none are refused before anything is computed from them."""

import torch
from torch import Tensor

from refusal import Refusal


def finite(values: Tensor) -> bool:
    """Whether no value is NaN or infinite.

    Either would reach the minimum or the maximum, which are found without any more memory and ten times as fast as
    ``isfinite().all()``.
    """
    return values.numel() == 0 or all(bool(end.isfinite()) for end in torch.aminmax(values))


def refuse_nonsense(what: str, *tensors: Tensor) -> None:
    """Let only finite numbers through.

    Parameters
    ----------
    what : str
        What the tensors hold, as the plural subject of the sentence: "The dense model's logits".

    Raises
    ------
    Refusal
        A value is NaN or infinite.
    """
    if not all(finite(values) for values in tensors):
        raise Refusal(
            f"{what} contain NaN or infinite values, so nothing can be measured. Load the model in float32 or bfloat16: "
            "many models overflow in float16."
        )
