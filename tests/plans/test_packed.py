"""Pruned weights in the store: as small as they are, and the same weights when they come back."""

import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from cache.codec import decode, encode
from models.families import family_of
from models.linears import linears
from plans.cut import Calibrated, cut
from plans.plan import parse
from plans.weights.packed import pack
from plans.weights.sparsity import Sparsity
from refusal import Refusal
from tests.models.tiny import tiny_model, tokens
from tests.plans.pruning import pieces_of, prune, unpack, view_of
from tests.probes.subjects import subject_of

WANDA = Sparsity("wanda", 0.5)
SPARSEGPT, MAGNITUDE = Sparsity("sparsegpt", 0.5), Sparsity("magnitude", 0.5)


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
    stored = pieces_of(view_of(tiny_model("llama")), tokens(), MAGNITUDE)
    other = tiny_model("llama")
    other.model.layers[2].mlp.up_proj.weight = nn.Parameter(torch.zeros(40, 32), requires_grad=False)
    says = r"mlp.up_proj of layer 2 is \[40, 32\], but it was pruned as \[48, 32\]. Calibrate this model again"
    with pytest.raises(Refusal, match=says):
        cut(subject_of(other), Calibrated(parse("w:magnitude@0.5"), {"weights": stored}))


def test_a_zero_in_the_dense_model_stays_one():
    model = tiny_model("llama")
    name = "model.layers.0.mlp.up_proj"
    model.get_submodule(name).weight[:, :8] = 0.0
    weights = prune(view_of(model), tokens(), SPARSEGPT)
    assert torch.equal(unpack(pack(weights, True), model)[name], weights[name])


def test_a_linear_map_is_seen_the_same_however_it_is_kept():
    for name, kind in (("gpt2", Conv1D), ("llama", nn.Linear)):
        model = tiny_model(name)
        block = model.get_submodule(family_of(model.config).layers)[0]
        for linear in linears(block, family_of(model.config)):
            assert isinstance(linear.module, kind)
            inputs = torch.randn(2, linear.matrices.shape[2])
            expected = linear.module(inputs) - (0 if linear.module.bias is None else linear.module.bias)
            torch.testing.assert_close(inputs @ linear.matrices[0].T, expected)
