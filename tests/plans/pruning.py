"""Pruned weights by their names in the dense model, for tests that look at single weights."""

import torch

from models.linears import linears
from plans.cut import Calibrated, cut
from plans.plan import parse
from plans.weights.packed import pack, put
from plans.weights.prune import prune as prune_by_block
from refusal import silent
from tests.probes.subjects import subject_of


def pieces_of(view, ids, sparsity, progress=silent):
    """What pruning keeps, block by block."""
    pieces = {}
    prune_by_block(view, ids, sparsity, {}, pieces.__setitem__, progress)
    return pieces


def prune(view, ids, sparsity, progress=silent):
    """Pruned weights by the dotted name of their linear map in the dense model; the view is pruned afterwards."""
    pieces, weights = pieces_of(view, ids, sparsity, progress), {}
    for place, layer in enumerate(view.blocks):
        maps = linears(view.layers[place], view.family, sparsity.modules)
        if str(layer) in pieces:
            put(maps, pieces[str(layer)], layer)
            weights |= {f"{view.family.layers}.{layer}.{linear.name}": linear.weight.data for linear in maps}
    return weights


def calibrated(text, weights, family):
    """A plan with pruned weights by name, as `prune` gives them."""
    pieces = {}
    for name, weight in weights.items():
        layer, _, inside = name.removeprefix(f"{family.layers}.").partition(".")
        pieces.setdefault(layer, {}).update(pack({inside: weight}, values=True))
    return Calibrated(parse(text), {"weights": pieces})


def apply(model, weights):
    """Put weights by name into a model."""
    for name, weight in weights.items():
        parent, _, last = name.rpartition(".")
        held = model.get_submodule(parent)
        stacked = isinstance(getattr(held, last), torch.Tensor)
        holder, parameter = (held, last) if stacked else (getattr(held, last), "weight")
        setattr(holder, parameter, torch.nn.Parameter(weight, requires_grad=False))


def unpack(stored, model):
    """Packed weights by name, put on a view of a model and read from there."""
    view, found = cut(subject_of(model)), {}
    for place, layer in enumerate(view.blocks):
        prefix = f"{view.family.layers}.{layer}."
        inside = {name.removeprefix(prefix): parts for name, parts in stored.items() if name.startswith(prefix)}
        maps = linears(view.layers[place], view.family)
        put(maps, inside, layer)
        found |= {f"{prefix}{linear.name}": linear.weight.data for linear in maps if linear.name in inside}
    return found
