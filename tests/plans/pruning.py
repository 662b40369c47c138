"""Pruned weights by their names in the dense model, and slow loops to compare them with."""

import copy
import re

import numpy as np
import torch

from models.families import family_of
from models.linears import linears
from plans.cut import Calibrated, cut
from plans.plan import parse
from plans.weights.packed import pack, put
from plans.weights.prune import prune as prune_by_block
from refusal import silent
from tests.models.tiny import LAYERS
from tests.probes.subjects import subject_of

# Written from the modelling files: what is a matrix in a block and still not a linear map to prune.
_KEPT = re.compile(r"(\.gate|\.router|shared_expert_gate)\.weight|_bias$")


def view_of(model, plan=""):
    """A private view of a model with a plan of drops."""
    return cut(subject_of(model), parse(plan))


def pieces_of(view, ids, sparsity, progress=silent):
    """What pruning keeps, block by block."""
    pieces = {}
    prune_by_block(view, ids, sparsity, {}, pieces.__setitem__, progress)
    return pieces


def prune(view, ids, sparsity, progress=silent):
    """Pruned weights by the dotted name of their linear map in the dense model; the view is pruned afterwards.

    They are looked at in the moment they are handed over, when they are those that the next blocks see.
    """
    maps = {
        str(layer): linears(block, view.family, sparsity.modules) for layer, block in zip(view.blocks, view.layers, strict=True)
    }
    pieces, weights = {}, {}

    def keep(layer, piece):
        pieces[layer] = piece
        weights.update({f"{view.family.layers}.{layer}.{linear.name}": linear.weight.data for linear in maps[layer]})

    prune_by_block(view, ids, sparsity, {}, keep, progress)
    for layer, piece in pieces.items():
        put(maps[layer], piece, int(layer))
        for linear in maps[layer]:
            assert torch.equal(linear.weight, weights[f"{view.family.layers}.{layer}.{linear.name}"]), "kept otherwise"
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


def as_rows(model, weight):
    """A weight as (maps, out, in): GPT-2 and the experts of gpt-oss keep theirs the other way round."""
    kind, stacked = model.config.model_type, weight.dim() == 3
    turned = kind == "gpt2" or (kind == "gpt_oss" and stacked)
    weight = weight if stacked else weight[None]
    return weight.mT if turned else weight


def prunable(model):
    """Names as `prune` gives them, from the parameters alone."""
    prefix = family_of(model.config).layers + "."
    names = [key for key, w in model.named_parameters() if key.startswith(prefix) and w.dim() > 1 and not _KEPT.search(key)]
    return {name.removesuffix(".weight") for name in names}


def before_last(model, weights):
    """The dense model with all pruned weights but those of the last block."""
    model = copy.deepcopy(model)
    last = f"{family_of(model.config).layers}.{LAYERS - 1}."
    apply(model, {name: weight for name, weight in weights.items() if not name.startswith(last)})
    return model


def inputs_of(model, names, ids):
    """All inputs (tokens, in) of some linear maps in plain forward passes, float64."""
    seen = {name: [] for name in names}
    hooks = [
        model.get_submodule(name).register_forward_pre_hook(lambda _, args, name=name: seen[name].append(args[0].clone()))
        for name in names
    ]
    with torch.no_grad():
        for window in ids:
            model(input_ids=window[None], use_cache=False)
    for hook in hooks:
        hook.remove()
    return {name: torch.cat([x.reshape(-1, x.shape[-1]) for x in parts]).double().numpy() for name, parts in seen.items()}


def slow_wanda(weight, inputs, pruned, group):
    """The mask by a loop over rows and groups, weight (out, in)."""
    norms, weight = np.sqrt((inputs**2).sum(0)), weight.double().numpy()
    mask = np.zeros(weight.shape, bool)
    for row, values in enumerate(weight):
        for begin in range(0, len(values), group):
            scores = np.abs(values[begin : begin + group]) * norms[begin : begin + group]
            mask[row, begin + np.argsort(scores, kind="stable")[:pruned]] = True
    return mask
