"""A view: a real pruned model that shares its weights with the dense one, but for those that a plan has pruned.

``copy.deepcopy`` with each parameter and buffer mapped to itself copies the module tree and no weight, so it costs time in
the number of modules and not in their size. The tree is private to whoever asked for it: it may be hooked, patched and
thrown away, and the dense model is never touched. A dropped sublayer becomes a stub that adds nothing, a dropped block
leaves the list; the attentions that remain are renumbered, because the first of them tells the model how many tokens
are cached.
"""

import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from models.families import Family, Sublayer
from models.linears import apply
from models.view import View
from plans.keys.choice import switch_on
from plans.plan import Plan
from refusal import Refusal

EMPTY = Plan()


class Stub(nn.Module):
    """Stands where a dropped sublayer stood and adds nothing to the residual stream."""

    def __init__(self, sublayer: Sublayer) -> None:
        super().__init__()
        self.takes_residual, self.returns_tuple = sublayer.takes_residual, sublayer.returns_tuple

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        hidden = args[0] if args else kwargs["hidden_states"]
        # BLOOM and MPT let the sublayer add the residual: for them adding nothing means handing it through.
        out = args[1] if self.takes_residual else torch.zeros_like(hidden)
        return (out, None) if self.returns_tuple else out


@dataclass(frozen=True, eq=False)
class Calibrated:
    """A plan with what it learned from a text.

    Attributes
    ----------
    weights : dict of str to tensor
        Pruned weights by the name of their parameter in the dense model.
    basis : dict of int to float32 tensor of shape (heads, head_dim, head_dim)
        Directions of the keys by dense layer, rows by falling eigenvalue.
    """

    plan: Plan
    weights: dict[str, torch.Tensor] = field(default_factory=dict)
    basis: dict[int, torch.Tensor] = field(default_factory=dict)


def plan_of(plan: Plan | Calibrated) -> Plan:
    """The plan, calibrated or not."""
    return plan.plan if isinstance(plan, Calibrated) else plan


def cut(model: PreTrainedModel, family: Family, plan: Plan | Calibrated = EMPTY) -> View:
    """A view of ``model`` without what ``plan`` drops; with the empty plan a private copy of the tree.

    Raises
    ------
    Refusal
        The plan names a layer the model does not have, or is not calibrated and has to be.
    """
    if isinstance(plan, Plan) and plan.calibrates:
        raise Refusal(f"The plan {plan} has to look at a text before it can be applied: calibrate it first.")
    learned, plan = plan if isinstance(plan, Calibrated) else Calibrated(plan), plan_of(plan)
    if plan.sparsity and not learned.weights:  # it would be the dense model under a pruned name
        raise Refusal(f"The plan {plan} prunes weights, but nothing was learned for it: calibrate it again.")
    dense_config = model.config.get_text_config(decoder=True)
    count = len(model.get_submodule(family.layers))
    plan.checked(count)
    tree = copy.deepcopy(model, _shared(model))
    apply(tree, learned.weights)
    layers = tree.get_submodule(family.layers)
    blocks = tuple(i for i in range(count) if i not in plan.blocks)
    attentions = tuple(i for i in blocks if i not in plan.attention)
    for i in plan.attention:
        _stub(layers[i], family.attention)
    for i in plan.mlp:
        _stub(layers[i], family.mlp)
    _keep_blocks(tree, family, blocks)
    _renumber([layers[i] for i in blocks], blocks, attentions)
    view = View(tree, family, plan, blocks, attentions, dense_config)
    if plan.keys and attentions:
        switch_on(view, learned.basis, plan.keys.dims, plan.keys.top)
    return view


def _shared(model: PreTrainedModel) -> dict[int, Any]:
    """The memo that makes deepcopy hand every weight through.

    Weights that accelerate keeps on disk or in host memory hang on hooks and not on modules: their maps are only read,
    so they are shared as well.
    """
    memo: dict[int, Any] = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    for module in model.modules():
        hook = getattr(module, "_hf_hook", None)
        for part in getattr(hook, "hooks", (hook,)):
            weights = getattr(part, "weights_map", None)
            if weights is not None:
                memo[id(weights)] = weights
    return memo


def _stub(block: nn.Module, sublayer: Sublayer) -> None:
    for name in (*sublayer.norms, *sublayer.dead, sublayer.module):
        block.get_submodule(name)  # a name that is not there must fail, not become a new attribute
        setattr(block, name, Stub(sublayer) if name == sublayer.module else nn.Identity())


def _keep_blocks(tree: PreTrainedModel, family: Family, blocks: tuple[int, ...]) -> None:
    parent, _, name = family.layers.rpartition(".")
    layers = tree.get_submodule(family.layers)
    config = tree.config.get_text_config(decoder=True)
    if len(blocks) == len(layers):
        return
    setattr(tree.get_submodule(parent), name, nn.ModuleList(layers[i] for i in blocks))
    # Every per-layer list has to shrink with the blocks, or the i-th block is given the mask of another one.
    for key, value in list(vars(config).items()):
        if "layer" in key and isinstance(value, list) and len(value) == len(layers):
            setattr(config, key, [value[i] for i in blocks])
    config.num_hidden_layers = len(blocks)


def _renumber(layers: list[nn.Module], blocks: tuple[int, ...], attentions: tuple[int, ...]) -> None:
    """Number the remaining attentions 0, 1, … without gaps, in every submodule that knows its layer.

    The cache tells the model how many tokens it holds by its first layer; if that one never fills, every decoded token
    gets position 0.
    """
    for block, i in zip(layers, blocks, strict=True):
        place = sum(kept < i for kept in attentions)
        for module in block.modules():
            if isinstance(getattr(module, "layer_idx", None), int):
                module.layer_idx = place
