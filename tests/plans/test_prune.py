"""Pruning a view: every family, each block on what the pruned ones before it hand on, and the dense model untouched."""

import copy
import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from transformers.pytorch_utils import Conv1D

from cache.codec import decode, encode
from models.families import family_of
from models.linears import linears
from plans.cut import cut
from plans.plan import parse
from plans.weights.packed import pack
from plans.weights.sparsity import Sparsity
from refusal import Refusal
from tests.models.tiny import LAYERS, TINY, tiny_model, tokens
from tests.plans.pruning import apply, calibrated, prune, unpack
from tests.probes.subjects import subject_of

WANDA, PAIRS = Sparsity("wanda", 0.5), Sparsity("wanda", 0.5, 4)
SPARSEGPT, MAGNITUDE = Sparsity("sparsegpt", 0.5), Sparsity("magnitude", 0.5)
# Written from the modelling files: what is a matrix in a block and still not a linear map to prune.
_KEPT = re.compile(r"(\.gate|\.router|shared_expert_gate)\.weight|_bias$")


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Threads cost tiny models more than they bring."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def view_of(model, plan=""):
    return cut(subject_of(model), parse(plan))


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


@pytest.mark.parametrize("name", TINY)
def test_every_family(name):
    model, ids = tiny_model(name), tokens(3)
    dense = {key: weight.clone() for key, weight in model.named_parameters()}
    for sparsity in (WANDA, PAIRS):
        view = view_of(model)
        weights = prune(view, ids, sparsity)
        assert set(weights) == prunable(model)
        for key, weight in weights.items():
            rows = as_rows(model, weight)
            group = sparsity.group or rows.shape[-1]
            assert set((rows == 0).unflatten(-1, (-1, group)).sum(-1).flatten().tolist()) == {group // 2}, key
        assert all(torch.equal(dense[key], weight) for key, weight in model.named_parameters()), "the dense model was touched"
        pruned = cut(subject_of(model), calibrated(str(sparsity), weights, view.family))
        assert torch.equal(pruned.logits(ids), view.logits(ids)), "the weights are not those that the view was left with"
        assert not torch.equal(pruned.logits(ids), view_of(model).logits(ids))
        _last_block_is_wanda(model, before_last(model, weights), weights, ids, sparsity)


def _last_block_is_wanda(model, halfway, weights, ids, sparsity):
    """Its masks follow from plain forward passes of a model whose other blocks are pruned already."""
    last = f"{family_of(model.config).layers}.{LAYERS - 1}."
    names = [name for name in weights if name.startswith(last) and "experts." not in name]
    for name, inputs in inputs_of(halfway, names, ids).items():
        dense, rows = (as_rows(model, part)[0] for part in (model.get_submodule(name).weight, weights[name]))
        group = sparsity.group or dense.shape[1]
        assert np.array_equal(rows == 0, slow_wanda(dense, inputs, group // 2, group)), name


@pytest.mark.parametrize("name", ["llama", "gpt2", "opt", "falcon-7b", "gpt_oss", "deepseek_v3"])
def test_sparsegpt_and_magnitude_prune_the_share_of_each_matrix(name):
    model, ids = tiny_model(name), tokens(3, 40)
    for sparsity in (SPARSEGPT, MAGNITUDE, Sparsity("sparsegpt", 0.25, 8)):
        weights = prune(view_of(model), ids, sparsity)
        assert set(weights) == prunable(model)
        for key, weight in weights.items():
            for matrix in as_rows(model, weight):
                assert int((matrix == 0).sum()) == matrix.numel() * sparsity.ratio, key


def test_the_first_block_is_pruned_on_dense_inputs_and_deeper_ones_are_not():
    model, ids = tiny_model("llama"), tokens(3)
    weights = prune(view_of(model), ids, WANDA)
    same = {}
    for name, inputs in inputs_of(model, list(weights), ids).items():
        dense = model.get_submodule(name).weight
        same[name] = np.array_equal(weights[name] == 0, slow_wanda(dense, inputs, dense.shape[1] // 2, dense.shape[1]))
    assert all(same[name] for name in same if ".layers.0." in name)
    assert not any(same[name] for name in same if ".layers.4." in name), "deeper blocks saw the inputs of the dense model"


def test_sparsegpt_of_a_block_is_the_matrix_function_on_its_inputs():
    from plans.weights.masks import sparsegpt

    model, ids = tiny_model("phi3"), tokens(3)
    weights = prune(view_of(model), ids, SPARSEGPT)
    name = "model.layers.4.mlp.down_proj"
    inputs = torch.from_numpy(inputs_of(before_last(model, weights), [name], ids)[name])
    expected = sparsegpt(model.get_submodule(name).weight, inputs.T @ inputs, SPARSEGPT)
    torch.testing.assert_close(weights[name].double(), expected, atol=1e-4, rtol=1e-4)


def _expert_inputs(model, block, hidden, chosen, expert):
    """Inputs of both maps of an expert, token by token, from the papers' formulas."""
    experts, firsts, seconds = block.mlp.experts, [], []
    for x, picked in zip(hidden, chosen.tolist(), strict=True):
        if expert not in picked:
            continue
        firsts.append(x)
        if model.config.model_type == "gpt_oss":
            both = x @ experts.gate_up_proj[expert] + experts.gate_up_proj_bias[expert]
            gate, up = both[::2].clamp(max=7.0), both[1::2].clamp(-7.0, 7.0)
            seconds.append((up + 1) * gate * torch.sigmoid(1.702 * gate))
        else:
            gate, up = (experts.gate_up_proj[expert] @ x).chunk(2)
            seconds.append(functional.silu(gate) * up)
    return torch.stack(firsts).double().numpy(), torch.stack(seconds).double().numpy()


@pytest.mark.parametrize("name", ["mixtral", "qwen3_moe", "gpt_oss"])
@torch.no_grad()
def test_stacked_experts_are_pruned_on_the_tokens_that_come_to_them(name):
    model, ids = tiny_model(name), tokens(3)
    weights = prune(view_of(model), ids, WANDA)
    halfway = before_last(model, weights)
    block, seen = halfway.model.layers[-1], []
    block.mlp.experts.register_forward_pre_hook(lambda _, args: seen.append(args[:2]))
    for window in ids:
        halfway(input_ids=window[None], use_cache=False)
    hidden, chosen = (torch.cat(parts) for parts in zip(*seen, strict=True))
    for expert in range(4):
        first, second = _expert_inputs(model, block, hidden, chosen, expert)
        for key, inputs in (("gate_up_proj", first), ("down_proj", second)):
            dense = as_rows(model, getattr(model.model.layers[-1].mlp.experts, key))[expert]
            found = as_rows(model, weights[f"model.layers.4.mlp.experts.{key}"])[expert]
            expected = slow_wanda(dense, inputs, dense.shape[1] // 2, dense.shape[1])
            assert np.array_equal(found == 0, expected), f"{key} of expert {expert}"


@pytest.mark.parametrize("sparsity", [WANDA, SPARSEGPT], ids=str)
def test_an_expert_that_no_token_came_to_is_pruned_by_magnitude(sparsity):
    model = tiny_model("mixtral")
    ids, seen = tokens(1, 2), []
    view = view_of(model)
    view.layers[0].mlp.experts.register_forward_pre_hook(lambda _, args: seen.append(args[1]))
    weights = prune(view, ids, sparsity)
    lonely = sorted(set(range(4)) - set(seen[0].flatten().tolist()))
    assert lonely
    dense = model.model.layers[0].mlp.experts.down_proj[lonely[0]]
    found = weights["model.layers.0.mlp.experts.down_proj"][lonely[0]]
    assert int((found == 0).sum()) == found.numel() // 2
    assert torch.equal(found[found != 0], dense[found != 0])
    if sparsity is WANDA:
        assert np.array_equal(found == 0, slow_wanda(dense, np.ones((1, 48)), 24, 48))
    else:
        assert float(dense[found == 0].abs().max()) <= float(dense[found != 0].abs().min())


def test_dropped_sublayers_are_left_out_and_layers_keep_their_numbers():
    model, ids = tiny_model("llama"), tokens()
    weights = prune(view_of(model, "b1,a2,m3"), ids, WANDA)
    layers = {tuple(name.split(".")[2:4]) for name in weights}
    assert layers == {("0", "self_attn"), ("0", "mlp"), ("2", "mlp"), ("3", "self_attn"), ("4", "self_attn"), ("4", "mlp")}
    # Layer 4 is the fourth that is left; its inputs are those of the model with the drops.
    name, inside = "model.layers.4.mlp.up_proj", "model.layers.3.mlp.up_proj"
    before = {key: weight for key, weight in weights.items() if ".layers.4." not in key}
    halfway = cut(subject_of(model), calibrated("b1,a2,m3,w:wanda@0.5", before, family_of(model.config)))
    dense, inputs = model.get_submodule(name).weight, inputs_of(halfway.model, [inside], ids)[inside]
    assert np.array_equal(weights[name] == 0, slow_wanda(dense, inputs, 16, 32))


_PARTS = {"llama": ("mlp", {"mlp"}), "opt": ("mlp", {"fc1", "fc2"}), "bloom": ("attention", {"self_attention"})}


@pytest.mark.parametrize("name", _PARTS)
def test_a_part_of_the_blocks(name):
    part, modules = _PARTS[name]
    model = tiny_model(name)
    prefix = family_of(model.config).layers
    weights = prune(view_of(model), tokens(), Sparsity("wanda", 0.5, modules=part))
    assert {key.removeprefix(prefix).split(".")[2] for key in weights} == modules


def test_no_block_runs_more_than_twice_and_magnitude_runs_none():
    model, ids = tiny_model("llama"), tokens(3)
    for sparsity, expected in ((WANDA, [6, 6, 6, 6, 3]), (MAGNITUDE, [0] * 5)):
        view, runs = view_of(model), []
        for place, block in enumerate(view.layers):
            block.input_layernorm.register_forward_hook(lambda *_, place=place, runs=runs: runs.append(place))
        prune(view, ids, sparsity)
        assert [runs.count(place) for place in range(LAYERS)] == expected


class Cancelled(Exception):
    pass


@pytest.mark.parametrize("sparsity", [WANDA, SPARSEGPT, MAGNITUDE], ids=str)
def test_cancelling_leaves_the_dense_model_as_it_was(sparsity):
    model, ids = tiny_model("gemma2"), tokens(3)
    dense = {key: weight.clone() for key, weight in model.named_parameters()}
    before = view_of(model).logits(ids)
    told = []
    prune(view_of(model), ids, sparsity, lambda *step: told.append(step))
    done = [step[0] for step in told]
    assert done == sorted(done) and len(set(done)) == len(done) and {step[1] for step in told} == {LAYERS}
    assert told[0][2] == "pruning layer 0" and told[-1][2] == "pruning layer 4"
    for stop in (0, len(told) // 2, len(told) - 1):
        steps = iter(range(len(told)))

        def cancel(*step, steps=steps, stop=stop):
            if next(steps) == stop:
                raise Cancelled

        with pytest.raises(Cancelled):
            prune(view_of(model), ids, sparsity, cancel)
        assert all(torch.equal(dense[key], weight) for key, weight in model.named_parameters())
        assert not any(module._forward_pre_hooks for module in model.modules())
    assert torch.equal(view_of(model).logits(ids), before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["llama", "gpt2", "mixtral"])
def test_packed_weights_come_back(name, dtype):
    model, ids = tiny_model(name).to(dtype), tokens()
    for sparsity in (WANDA, SPARSEGPT, MAGNITUDE):
        weights = prune(view_of(model), ids, sparsity)
        stored = decode(encode(pack(weights, sparsity.method == "sparsegpt")))
        found = unpack(stored, model)
        assert set(found) == set(weights)
        for key, weight in weights.items():
            assert weight.dtype == found[key].dtype == dtype and not found[key].requires_grad
            assert torch.equal(found[key], weight), key
        size = len(encode(stored)) / sum(weight.numel() for weight in weights.values())
        assert size < (3.5 if sparsity is SPARSEGPT else 1.3)  # bytes a weight; tiny matrices carry much around them


def test_packed_weights_of_another_model_are_refused():
    stored = pack(prune(view_of(tiny_model("llama")), tokens(), MAGNITUDE), False)
    other = tiny_model("llama")
    other.model.layers[2].mlp.up_proj.weight = nn.Parameter(torch.zeros(40, 32), requires_grad=False)
    with pytest.raises(Refusal, match="Calibrate this model again"):
        unpack(stored, other)


def test_a_zero_in_the_dense_model_stays_one():
    model = tiny_model("llama")
    name = "model.layers.0.mlp.up_proj"
    model.get_submodule(name).weight[:, :8] = 0.0
    weights = prune(view_of(model), tokens(), SPARSEGPT)
    assert torch.equal(unpack(pack(weights, True), model)[name], weights[name])


def test_nothing_to_prune_is_refused():
    model = tiny_model("llama")
    with pytest.raises(Refusal, match="leaves no attention"):
        prune(view_of(model, "a0,a1,a2,a3,a4"), tokens(), Sparsity("wanda", 0.5, modules="attention"))
    with pytest.raises(Refusal, match="leaves no linear map"):
        prune(view_of(model, "b0-4"), tokens(), MAGNITUDE)
    with pytest.raises(Refusal, match="less than one weight"):
        prune(view_of(model), tokens(), Sparsity("wanda", 0.01))


def test_groups_that_do_not_fit_are_refused_before_anything_runs():
    told = []
    with pytest.raises(Refusal, match=r"w:wanda@2:5 .* self_attn.q_proj has 32, which 5 does not divide"):
        prune(view_of(tiny_model("llama")), tokens(), Sparsity("wanda", 0.4, 5), lambda *step: told.append(step))
    assert not told


@pytest.mark.parametrize("sparsity", [WANDA, SPARSEGPT], ids=str)
def test_states_that_are_no_numbers_are_refused(sparsity):
    model = tiny_model("llama")
    model.model.embed_tokens.weight.fill_(torch.inf)
    with pytest.raises(Refusal, match="hidden states are not numbers"):
        prune(view_of(model), tokens(), sparsity)


def test_weights_that_are_no_numbers_are_refused():
    model = tiny_model("llama")
    model.model.layers[2].mlp.up_proj.weight[3, 3] = torch.nan
    with pytest.raises(Refusal, match=r"layers.2.mlp.up_proj holds weights that are not numbers"):
        prune(view_of(model), tokens(), MAGNITUDE)


def test_offloaded_quantised_and_unknown_weights_are_refused():
    model = tiny_model("llama")
    weights = prune(view_of(model), tokens(), MAGNITUDE)
    model.model.layers[1].mlp.up_proj.to("meta")
    with pytest.raises(Refusal, match="outside the memory"):
        prune(view_of(model), tokens(), MAGNITUDE)
    with pytest.raises(Refusal, match="outside the memory"):
        unpack(pack(weights, False), model)
    quantised = tiny_model("llama")
    quantised.model.layers[1].mlp.up_proj.weight = nn.Parameter(torch.zeros(48, 32, dtype=torch.int8), requires_grad=False)
    with pytest.raises(Refusal, match=r"mlp\.up_proj is quantised"):
        prune(view_of(quantised), tokens(), MAGNITUDE)
    unknown = tiny_model("mixtral")
    unknown.model.layers[1].mlp.experts.extra = nn.Parameter(torch.zeros(4, 3, 3), requires_grad=False)
    with pytest.raises(Refusal, match="end the item with /attention"):
        prune(view_of(unknown), tokens(), WANDA)
    assert prune(view_of(unknown), tokens(), Sparsity("wanda", 0.5, modules="attention"))


def test_sums_that_do_not_fit_the_memory_are_refused(monkeypatch):
    monkeypatch.setattr("plans.weights.room.free_memory", lambda device: 1000)
    for sparsity, what in ((SPARSEGPT, "SparseGPT's products"), (WANDA, "for the pruned weights,")):
        with pytest.raises(Refusal, match=what):
            prune(view_of(tiny_model("llama")), tokens(), sparsity)


def test_a_linear_map_is_seen_the_same_however_it_is_kept():
    for name, kind in (("gpt2", Conv1D), ("llama", nn.Linear)):
        model = tiny_model(name)
        block = model.get_submodule(family_of(model.config).layers)[0]
        for linear in linears(block, family_of(model.config)):
            assert isinstance(linear.module, kind)
            inputs = torch.randn(2, linear.matrices.shape[2])
            expected = linear.module(inputs) - (0 if linear.module.bias is None else linear.module.bias)
            torch.testing.assert_close(inputs @ linear.matrices[0].T, expected)
