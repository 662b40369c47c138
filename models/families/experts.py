"""Experts: what sends tokens to them, and how transformers stacks the weights of all experts of a block.

Stacked weights are parameters of shape (experts, out, in), or (experts, in, out) where the module is transposed. The first one
makes gate and up together; the gate is put on between it and the second.
"""

import re

from torch import Tensor, nn

STACKED = ("gate_up_proj", "down_proj")
# Not gate_proj, which is a weight like others.
_ROUTER = re.compile(r"(.*gate|router|.*_router)")


def is_router(name: str) -> bool:
    """Whether a module of this dotted name decides where a token goes: pruned, another model would be looked at."""
    return _ROUTER.fullmatch(name.rpartition(".")[2]) is not None


def stacked(module: nn.Module) -> tuple[list[str], bool]:
    """The parameters of a module that hold one matrix for each expert, and whether it is known what they do."""
    names = [name for name, weight in module.named_parameters(recurse=False) if weight.dim() == 3]
    return names, sorted(names) == sorted(STACKED) and hasattr(module, "_apply_gate")


def transposed(experts: nn.Module) -> bool:
    """Whether stacked weights are kept as (experts, in, out)."""
    return experts.is_transposed


def between(experts: nn.Module, expert: int, rows: Tensor) -> Tensor:
    """What one expert's second map is given when its first is given ``rows``.

    Parameters
    ----------
    rows : tensor of shape (tokens, in)

    Returns
    -------
    tensor of shape (tokens, middle)
    """
    first, _ = STACKED
    weight = getattr(experts, first)[expert]
    middle = rows @ (weight if transposed(experts) else weight.T)
    if experts.has_bias:
        middle = middle + getattr(experts, f"{first}_bias")[expert]
    return experts._apply_gate(middle)
