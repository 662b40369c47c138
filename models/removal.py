"""Taking sublayers and blocks out of a private tree.

A dropped sublayer becomes a stub that adds nothing, a dropped block leaves the list; the attentions that remain are renumbered,
because the first of them tells the model how many tokens are cached.
"""

from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from models.families import Family, Sublayer
from models.view import View


class Stub(nn.Module):
    """Stands where a dropped sublayer stood and adds nothing to the residual stream."""

    adds_nothing = True  # for those who look for what is missing

    def __init__(self, sublayer: Sublayer) -> None:
        super().__init__()
        self.takes_residual, self.returns_tuple = sublayer.takes_residual, sublayer.returns_tuple

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        hidden = args[0] if args else kwargs["hidden_states"]
        # BLOOM and MPT let the sublayer add the residual: for them adding nothing means handing it through.
        out = args[1] if self.takes_residual else torch.zeros_like(hidden)
        return (out, None) if self.returns_tuple else out


def removed(view: View, attention: Set[int], mlp: Set[int], blocks: Set[int]) -> View:
    """The view without some attentions, MLPs and whole blocks, by dense layer index; its tree is changed."""
    left = tuple(i for i in view.blocks if i not in blocks)
    attentions = tuple(i for i in view.attentions if i not in blocks and i not in attention)
    layers = dict(zip(view.blocks, view.layers, strict=True))
    for i in left:
        if i in attention:
            _stub(layers[i], view.family.attention)
        if i in mlp:
            _stub(layers[i], view.family.mlp)
    if len(left) < len(view.blocks):
        _keep_blocks(view, left)
    for i in left:
        # The cache tells the model how many tokens it holds by its first layer; if that one never fills, every decoded
        # token gets position 0. So the attentions are numbered 0, 1, … without gaps, in every submodule that knows its layer.
        _number(layers[i], sum(kept < i for kept in attentions))
    return replace(view, blocks=left, attentions=attentions)


@contextmanager
def stubbed(block: nn.Module, sublayer: Sublayer) -> Iterator[None]:
    """A block of a private tree without one sublayer, for as long as the context lasts."""
    kept = {name: block.get_submodule(name) for name in _goes_with(sublayer)}
    _stub(block, sublayer)
    try:
        yield
    finally:
        for name, module in kept.items():
            setattr(block, name, module)


def _goes_with(sublayer: Sublayer) -> tuple[str, ...]:
    return (*sublayer.norms, *sublayer.dead, sublayer.module)


def leave_out(model: PreTrainedModel, family: Family, attention: Set[int], mlp: Set[int]) -> None:
    """Take sublayers out of a loaded model for good: its checkpoint lacks them. Views of it lack them as well."""
    blocks = model.get_submodule(family.layers)
    for i, block in enumerate(blocks):
        if i in attention:
            _stub(block, family.attention)
        if i in mlp:
            _stub(block, family.mlp)
        _number(block, sum(kept not in attention for kept in range(i)))


def _stub(block: nn.Module, sublayer: Sublayer) -> None:
    for name in _goes_with(sublayer):
        block.get_submodule(name)  # a name that is not there must fail, not become a new attribute
        setattr(block, name, Stub(sublayer) if name == sublayer.module else nn.Identity())


def _keep_blocks(view: View, left: tuple[int, ...]) -> None:
    parent, _, name = view.family.layers.rpartition(".")
    config, count = view.model.config.get_text_config(decoder=True), len(view.blocks)
    places = [view.blocks.index(i) for i in left]
    setattr(view.model.get_submodule(parent), name, nn.ModuleList(view.layers[place] for place in places))
    # Every per-layer list has to shrink with the blocks, or the i-th block is given the mask of another one.
    for key, value in list(vars(config).items()):
        if "layer" in key and isinstance(value, list) and len(value) == count:
            setattr(config, key, [value[place] for place in places])
    config.num_hidden_layers = len(left)


def _number(block: nn.Module, place: int) -> None:
    for module in block.modules():
        if isinstance(getattr(module, "layer_idx", None), int):
            module.layer_idx = place
