"""Pruning that cannot be done is refused before it begins, and pruning that is cancelled leaves nothing behind."""

import pytest
import torch
from torch import nn

from plans.cut import Calibrated, cut
from plans.plan import parse
from plans.weights.sparsity import Sparsity
from refusal import Refusal
from tests.models.tiny import LAYERS, tiny_model, tokens
from tests.plans.pruning import pieces_of, prune, view_of
from tests.probes.subjects import subject_of

WANDA = Sparsity("wanda", 0.5)
SPARSEGPT, MAGNITUDE = Sparsity("sparsegpt", 0.5), Sparsity("magnitude", 0.5)


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
    with pytest.raises(Refusal, match="hidden states contain NaN or infinite"):
        prune(view_of(model), tokens(), sparsity)


def test_weights_that_are_no_numbers_are_refused():
    model = tiny_model("llama")
    model.model.layers[2].mlp.up_proj.weight[3, 3] = torch.nan
    with pytest.raises(Refusal, match=r"weights of .*layers.2.mlp.up_proj contain NaN .*, so they cannot be pruned"):
        prune(view_of(model), tokens(), MAGNITUDE)


def test_offloaded_quantised_and_unknown_weights_are_refused():
    model = tiny_model("llama")
    pieces = pieces_of(view_of(model), tokens(), MAGNITUDE)
    model.model.layers[1].mlp.up_proj.to("meta")
    with pytest.raises(Refusal, match="outside the memory"):
        prune(view_of(model), tokens(), MAGNITUDE)
    with pytest.raises(Refusal, match="outside the memory"):
        cut(subject_of(model), Calibrated(parse("w:magnitude@0.5"), {"weights": pieces}))
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
