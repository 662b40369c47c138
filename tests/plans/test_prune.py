"""Pruning a view: every family, each block on what the pruned ones before it hand on, and the dense model untouched."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from models.families import family_of
from plans.cut import cut
from plans.weights.sparsity import Sparsity
from tests.models.tiny import LAYERS, TINY, tiny_model, tokens
from tests.plans.pruning import as_rows, before_last, calibrated, inputs_of, prunable, prune, slow_wanda, view_of
from tests.probes.subjects import subject_of

WANDA, PAIRS = Sparsity("wanda", 0.5), Sparsity("wanda", 0.5, 4)
SPARSEGPT, MAGNITUDE = Sparsity("sparsegpt", 0.5), Sparsity("magnitude", 0.5)


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Threads cost tiny models more than they bring."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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
