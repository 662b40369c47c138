"""What a plan leaves, told before it is applied, is what there is in the model that was cut."""

from dataclasses import replace

import pytest
import torch

from models.anatomy import anatomy
from models.linears import linears
from plans.cost import cost, shape_of
from plans.cost import kept as kept_shares
from plans.cut import cut
from plans.operation import Shape
from plans.plan import EMPTY, Plan, parse
from refusal import Refusal
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


def of(subject, text):
    """The cost of a plan, by its text."""
    return cost(subject, parse(text), anatomy(subject))


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
        left, view = cost(subject, plan, dense), cut(subject, plan)
        assert (left.parameters, left.bytes) == counted(view.model), text
        assert left.cache_bytes == kept(view, 1), text
        assert left.zeros == 0, text


@pytest.mark.parametrize("subject", TINY, indirect=True)
def test_what_drops_take_is_what_the_anatomy_has_of_it(subject):
    """Two ways of counting: the view that is left, and the parts that are gone."""
    dense = anatomy(subject)
    for kind, letter in (("attention", "a"), ("mlp", "m")):
        part = next(part for part in dense.parts if (part.layer, part.kind) == (2, kind))
        left = cost(subject, parse(f"{letter}2"), dense)
        assert dense.parameters - left.parameters == part.parameters
        assert dense.bytes - left.bytes == part.bytes
        assert dense.multiply_adds - left.multiply_adds == part.multiply_adds
        assert dense.cache_bytes - left.cache_bytes == part.cache_bytes
    gone = [part for part in dense.parts if part.layer == 2]
    block = cost(subject, parse("b2"), dense)
    assert dense.parameters - block.parameters == sum(part.parameters for part in gone)
    assert dense.multiply_adds - block.multiply_adds == sum(part.multiply_adds for part in gone)


@pytest.mark.parametrize("length", [1, 5, 20])
@pytest.mark.parametrize("plan", ["", "a0,a2", "b1-2,m4"])
def test_the_cache_grows_by_so_many_bytes_per_token(length, plan):
    subject = subject_of(tiny_model("llama"))
    view = cut(subject, parse(plan))
    assert kept(view, length) == length * of(subject, plan).cache_bytes


def test_dropping_sublayers_of_a_layer_is_dropping_its_block():
    subject = subject_of(tiny_model("llama"))
    dense = anatomy(subject)
    assert cost(subject, parse("a1,m1"), dense) == cost(subject, parse("b1"), dense)
    whole = cost(subject, Plan(), dense)
    names = ("parameters", "bytes", "cache_bytes", "multiply_adds")
    assert {name: getattr(whole, name) for name in names} == {name: getattr(dense, name) for name in names}


@pytest.mark.parametrize(
    ("text", "share"), [("w:wanda@0.5", 0.5), ("w:sparsegpt@0.25", 0.25), ("w:magnitude@1:4", 0.25), ("w:wanda@3:4/mlp", 0.75)]
)
@pytest.mark.parametrize("drops", ["", "a0,b2,"])
def test_zeros_are_told_beside_the_parameters_which_stay(text, share, drops):
    """Widths are 32 and 48, so the shares are whole numbers of weights and nothing is rounded."""
    subject = subject_of(tiny_model("llama"))
    view = cut(subject, parse(drops))
    maps = [map for block in view.layers for map in linears(block, view.family, "mlp" if "mlp" in text else "all")]
    left, dropped = of(subject, drops + text), of(subject, drops)
    assert left.zeros == share * sum(map.weight.numel() for map in maps) > 0
    assert replace(left, zeros=0) == dropped, "zeros take memory and work like other weights"


def test_attention_to_few_keys_keeps_them_all():
    subject = subject_of(tiny_model("llama"))
    assert of(subject, "a1,k:0.25/0.25") == of(subject, "a1")


def test_tied_embeddings_count_once():
    subject = subject_of(tiny_model("gemma"))
    left, embeddings = of(subject, "b0-4"), subject.model.get_input_embeddings().weight
    assert left.parameters == embeddings.numel() + subject.model.model.norm.weight.numel()
    assert (left.cache_bytes, left.zeros, left.multiply_adds) == (0, 0, embeddings.numel())


def test_half_precision_is_half_the_bytes():
    full, half = (of(subject_of(tiny_model("llama").to(dtype)), "a1,b3") for dtype in (torch.float32, torch.bfloat16))
    assert (half.parameters, half.bytes * 2, half.cache_bytes * 2) == (full.parameters, full.bytes, full.cache_bytes)
    assert half.multiply_adds == full.multiply_adds


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [("llama", "a9", "names layer 9"), ("bloom", "k:0.5/0.5", "does not go through"), ("mixtral", "w:wanda@0.5,b5", "layer 5")],
)
def test_what_cannot_be_cut_has_no_cost(name, text, says):
    with pytest.raises(Refusal, match=says):
        of(subject_of(tiny_model(name)), text)


def test_plans_are_checked_against_what_is_known_of_a_model_that_is_gone():
    known = anatomy(subject_of(tiny_model("falcon-rw")))
    assert shape_of(known) == Shape(LAYERS, known.attention_stays) and "falcon" in known.attention_stays
    assert EMPTY.checked(shape_of(known)) is EMPTY


@pytest.mark.parametrize("subject", ["llama"], indirect=True)
def test_what_is_kept_is_told_by_kind(subject):
    dense = anatomy(subject)

    def shares(text):
        return kept_shares(dense, cost(subject, parse(text), dense), parse(text))

    assert set(shares("").values()) == {1.0}
    pruned = shares("w:wanda@0.5")
    assert pruned.pop("nonzero") < 1 and set(pruned.values()) == {1.0}
    assert shares("k:0.25/0.5") == shares("") | {"keys": 0.5}
    both = shares("a0,w:wanda@0.5,k:0.25/0.5")
    assert both["cache"] == 1 - 1 / LAYERS and both["keys"] == both["cache"] / 2
    assert both["nonzero"] < both["parameters"] == both["bytes"] < 1
