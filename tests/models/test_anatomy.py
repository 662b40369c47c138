"""What a model is made of, counted part by part, is what there is; what a plan leaves of it: tests/plans/test_cost.py."""

import pytest
import torch

from models.anatomy import anatomy
from tests.models.tiny import LAYERS, TINY, tiny_model
from tests.probes.subjects import subject_of


@pytest.fixture(scope="module")
def subjects():
    return {}


@pytest.fixture
def subject(subjects, request):
    """A family's tiny model, made once."""
    name = request.param
    if name not in subjects:
        subjects[name] = subject_of(tiny_model(name))
    return subjects[name]


def counted(model):
    """Parameters and bytes of a model, each weight once."""
    weights = {id(weight): weight for weight in model.parameters()}.values()
    return sum(each.numel() for each in weights), sum(each.nbytes for each in weights)


@pytest.mark.parametrize("subject", TINY, indirect=True)
def test_parts_and_the_rest_are_the_whole(subject):
    dense, family = anatomy(subject), subject.family
    assert {(part.layer, part.kind) for part in dense.parts} == {
        (i, kind) for i in range(LAYERS) for kind in ("attention", "mlp", "shared")
    }
    blocks = subject.model.get_submodule(family.layers)
    for i in range(LAYERS):
        here = [part for part in dense.parts if part.layer == i]
        assert sum(part.parameters for part in here) == counted(blocks[i])[0]
        assert all(part.parameters > 0 and part.multiply_adds > 0 for part in here if part.kind != "shared")
        assert [part.kind for part in here if part.cache_bytes] == ["attention"]
    assert dense.parameters == counted(subject.model)[0]
    assert dense.parameters > sum(part.parameters for part in dense.parts)


def test_numbers_of_a_llama_by_hand():
    """Width 32, 4 heads of 8, 2 of keys and values, MLP 48, vocabulary 97, biases everywhere."""
    dense = anatomy(subject_of(tiny_model("llama")))
    attention, mlp, shared = dense.parts[:3]
    assert attention.parameters == (32 * 32 + 32) * 2 + (32 * 16 + 16) * 2 + 32
    assert mlp.parameters == (32 * 48 + 48) * 2 + (48 * 32 + 32) + 32
    assert shared.parameters == 0
    assert attention.multiply_adds == 32 * 32 * 2 + 32 * 16 * 2
    assert mlp.multiply_adds == 3 * 32 * 48
    assert attention.cache_bytes == 2 * 2 * 8 * 4
    assert dense.multiply_adds == 5 * (attention.multiply_adds + mlp.multiply_adds) + 97 * 32
    assert dense.bytes == 4 * dense.parameters


def test_tied_embeddings_count_once():
    subject = subject_of(tiny_model("gemma"))
    assert subject.model.get_input_embeddings().weight is subject.model.get_output_embeddings().weight
    assert anatomy(subject).parameters == counted(subject.model)[0]


def test_a_token_does_the_work_of_the_experts_it_visits():
    """Two of four experts of 3 · 32 · 48, and the router, which is asked about all four."""
    routed = next(part for part in anatomy(subject_of(tiny_model("mixtral"))).parts if part.kind == "mlp")
    assert routed.multiply_adds == 2 * 3 * 32 * 48 + 4 * 32
    assert routed.parameters == 4 * 3 * 32 * 48 + 4 * 32 + 32


def test_half_precision_is_half_the_bytes():
    model = tiny_model("llama")
    full, half = anatomy(subject_of(model)), anatomy(subject_of(tiny_model("llama").to(torch.bfloat16)))
    assert (half.parameters, half.bytes * 2, half.cache_bytes * 2) == (full.parameters, full.bytes, full.cache_bytes)
