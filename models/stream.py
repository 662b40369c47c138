"""The residual stream of a view, block by block: what went in, what attention and MLP added, what came out."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from measures.finite import refuse_nonsense
from measures.precision import ROUNDING, at_least_float32
from models.families import Sublayer
from models.view import View
from refusal import Refusal

# visit(place, before, attention, mlp, after), tensors of shape (windows, tokens, width) in the model's dtype
Visit = Callable[[int, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], None]


def watch(view: View, visit: Visit) -> None:
    """Call ``visit`` after each block of every later forward pass of this view.

    The view belongs to the caller, so the hooks stay on it and nothing has to be taken off. Only one block is held at a
    time: whoever wants to keep a tensor does so.
    """
    factor = view.family.factor(view.dense_config)
    for place, block in enumerate(view.layers):
        held: dict[str, torch.Tensor] = {}
        _hold(block, view.family.attention, factor, held, "attention")
        _hold(block, view.family.mlp, factor, held, "mlp")
        block.register_forward_pre_hook(_before(held), with_kwargs=True)
        block.register_forward_hook(_after(place, held, visit))


def check_stream(view: View, tokens: torch.Tensor) -> float:
    """Prove on these tokens that each block is its input plus the two addends; see `refuse_gap`.

    Returns
    -------
    float
        The largest relative error over blocks and positions.
    """
    gaps: list[torch.Tensor] = []
    watch(view, lambda place, *parts: gaps.append(gap(*parts)))
    view.logits(tokens, last=True)
    return refuse_gap(view, gaps)


def gap(before: torch.Tensor, attention: torch.Tensor, mlp: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """The largest ‖after − before − attention − mlp‖ / ‖after‖ over positions, at least float32, as a tensor without axes."""
    before, attention, mlp, after = map(at_least_float32, (before, attention, mlp, after))
    missing = (after - before - attention - mlp).norm(dim=-1) / after.norm(dim=-1).clamp_min(1e-12)
    return missing.max()


def refuse_gap(view: View, gaps: list[torch.Tensor]) -> float:
    """Refuse a model whose blocks do not add up, but for rounding: every score of it would be wrong.

    Parameters
    ----------
    gaps : list of tensors without axes
        The `gap` of each block, where the block is; they are read here, all at once.

    Returns
    -------
    float
        The largest of them.

    Raises
    ------
    Refusal
        The family's wiring is not understood, or its states are not numbers.
    """
    found = torch.stack([each.to(gaps[0].device) for each in gaps]).cpu()  # a split model has blocks on several devices
    refuse_nonsense("The model's hidden states", found)  # max would pass over NaN
    if (worst := found.max().item()) > ROUNDING[view.model.dtype]:
        raise Refusal(
            f"The blocks of this {view.family.name} do not add up: output − input − attention − MLP is {worst:.1e} of the "
            "output. PruneScope does not know its wiring, so any score of its sublayers would be wrong."
        )
    return worst


def first(output: Any) -> torch.Tensor:
    """The tensor of a module that returns a tensor or a tuple that begins with one."""
    return output[0] if isinstance(output, tuple) else output


def _hold(block: nn.Module, sublayer: Sublayer, factor: float, held: dict[str, torch.Tensor], name: str) -> None:
    def hook(module: nn.Module, args: tuple, output: Any) -> None:
        added = first(output)
        if sublayer.takes_residual:
            added = added - args[1]
        if sublayer.overwritten:
            added = added.clone()
        held[name] = added if factor == 1.0 else added * factor

    block.get_submodule(sublayer.addend or sublayer.module).register_forward_hook(hook)


def _before(held: dict[str, torch.Tensor]) -> Callable:
    def hook(module: nn.Module, args: tuple, kwargs: dict) -> None:
        held["before"] = args[0] if args else kwargs["hidden_states"]

    return hook


def _after(place: int, held: dict[str, torch.Tensor], visit: Visit) -> Callable:
    def hook(module: nn.Module, args: tuple, output: Any) -> None:
        before, after = held["before"], first(output)
        attention, mlp = held["attention"].reshape(before.shape), held["mlp"].reshape(before.shape)
        held.clear()
        visit(place, before, attention, mlp, after)

    return hook
