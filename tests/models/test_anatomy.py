"""What a plan saves, counted by the anatomy, is what is gone from the model that was cut."""

import pytest
import torch

from models.anatomy import anatomy
from plans.cut import cut
from plans.plan import Plan, parse
from tests.models.tiny import LAYERS, TINY, tiny_model, tokens
from tests.probes.subjects import subject_of

PLANS = ["", "a0", "m1,m3", "b0", "b1-2", "a0,m2,b3", "a0,a1,a2,a3,a4", "m0,m1,m2,m3,m4", "b0-4"]


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


@torch.inference_mode()
def kept(view, length):
    """Bytes that the cache of a view really holds after ``length`` tokens."""
    cache = view.cache()
    if cache is None:
        return 0
    view.logits(tokens(1, length), cache)
    return sum(each.nbytes for layer in cache.layers for each in (layer.keys, layer.values))


@pytest.mark.parametrize("subject", TINY, indirect=True)
def test_a_plan_leaves_what_the_view_has(subject):
    dense = anatomy(subject)
    for text in PLANS:
        plan = parse(text)
        left, view = dense.after(plan), cut(subject, plan)
        assert (left.parameters, left.bytes) == counted(view.model), text
        assert left.cache_bytes == kept(view, 1), text


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


@pytest.mark.parametrize("length", [1, 5, 20])
@pytest.mark.parametrize("plan", ["", "a0,a2", "b1-2,m4"])
def test_the_cache_grows_by_so_many_bytes_per_token(length, plan):
    subject = subject_of(tiny_model("llama"))
    view = cut(subject, parse(plan))
    assert kept(view, length) == length * anatomy(subject).after(parse(plan)).cache_bytes


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


def test_dropping_sublayers_of_a_layer_is_dropping_its_block():
    dense = anatomy(subject_of(tiny_model("llama")))
    assert dense.after(parse("a1,m1")) == dense.after(parse("b1"))
    assert dense.after(Plan()) == dense
