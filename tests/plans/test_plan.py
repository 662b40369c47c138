"""A plan's text is canonical: it parses back, and one pruned model has one text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plans.keys.shares import LowRank
from plans.plan import Plan, parse
from plans.weights.sparsity import METHODS, MODULES, Sparsity
from refusal import Refusal

layers = st.frozensets(st.integers(0, 40), max_size=8)
shares = st.floats(0.001, 0.999)
parts = st.sampled_from(sorted(MODULES))
methods = st.sampled_from(sorted(METHODS))
groups = st.integers(2, 16).flatmap(lambda group: st.tuples(st.integers(1, group - 1), st.just(group)))
sparsities = st.builds(Sparsity, methods, shares, st.just(0), parts) | st.builds(
    lambda method, group, part: Sparsity(method, group[0] / group[1], group[1], part), methods, groups, parts
)
plans = st.builds(Plan, layers, layers, layers, st.none() | sparsities, st.none() | st.builds(LowRank, shares, shares))


@given(plans)
def test_text_parses_back(plan):
    assert parse(str(plan)) == plan
    assert str(parse(str(plan))) == str(plan)


@given(plans, plans)
def test_union_and_difference(one, two):
    both = one | two
    assert both.dropped_attention == one.dropped_attention | two.dropped_attention
    assert both.dropped_mlp == one.dropped_mlp | two.dropped_mlp
    rest = both - two
    assert rest.dropped_attention == one.dropped_attention - two.dropped_attention
    assert (rest | two) == both
    assert both.sparsity == (two.sparsity or one.sparsity) and both.keys == (two.keys or one.keys)
    assert not (two - two) and two.drops | two == two


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("a3,a7,m12,b20-23", "a3,a7,m12,b20-23"),
        (" b23 b20-22; A7,a3 ,m12", "a3,a7,m12,b20-23"),
        ("a5-7", "a5,a6,a7"),
        ("a3,m3", "b3"),
        ("b3,a3", "b3"),
        ("", ""),
        ("b1,b3-4", "b1,b3-4"),
        ("K:0.250/.5 w:WANDA@0.50/all a3", "a3,w:wanda@0.5,k:0.25/0.5"),
        ("w:sparsegpt@2:4/mlp", "w:sparsegpt@2:4/mlp"),
        ("k:0.25/1", ""),  # attention to all keys is the model as it is
    ],
)
def test_one_model_has_one_text(written, canonical):
    assert str(parse(written)) == canonical


@pytest.mark.parametrize(
    ("typo", "sentence"),
    [
        ("x3", "'x3' is not part of a plan"),
        ("a", "'a' is not part of a plan"),
        ("a-3", "'a-3' is not part of a plan"),
        ("b9-4", "counts backwards; write b4-9"),
        ("b0-999999999", "no model has so many layers"),
        ("a3,,m1,q", "'q' is not part"),
        ("w:wander@0.5", "'w:wander@0.5' is not part of a plan"),
        ("w:wanda@0.5/heads", "is not part of a plan"),
        ("w:wanda@1.5", "share of 1.5 pruned weights"),
        ("w:wanda@0", "share of 0 pruned weights"),
        ("w:wanda@4:4", "share of 1 pruned weights"),
        ("w:wanda@1:99", "1 of 99 weights cannot be pruned"),
        ("w:wanda@0.5.1", "'0.5.1' is not a number"),
        ("k:0/0.5", "Attention to 0 of the keys or dimensions"),
        ("k:0.5/2", "Attention to 2 of the keys or dimensions"),
        ("w:wanda@0.5,w:magnitude@0.5", "one item 'w:' at most"),
    ],
)
def test_typos_are_named(typo, sentence):
    with pytest.raises(Refusal, match=sentence):
        parse(typo)


def test_sentences_say_what_a_plan_does():
    assert parse("").sentence(30) == "removes nothing"
    assert parse("b21-28").sentence(30) == "removes layers 21–28 (8 layers)"
    assert parse("a3,a7").sentence(30) == "removes the attention of layers 3, 7 (2 layers)"
    assert parse("a3,m5").sentence(30) == "removes the attention of layer 3; the MLP of layer 5"
    assert "every block" in parse("b0-29").sentence(30)
    assert parse("a3,w:wanda@2:4").sentence(30) == (
        "removes the attention of layer 3; sets 2 of every 4 weights left to zero, chosen by Wanda"
    )
    assert parse("k:0.25/0.5").sentence(30) == "attends to 0.5 of the keys, chosen in 0.25 of their dimensions"


def test_layers_beyond_the_model_are_named():
    assert parse("b29").checked(30) == parse("b29")
    with pytest.raises(Refusal, match="names layer 99, but this model has layers 0 to 29"):
        parse("a1,m99").checked(30)


def test_what_is_learned_does_not_depend_on_how_much_of_it_is_used():
    one, other = parse("a3,w:wanda@0.5,k:0.25/0.5"), parse("a3,w:wanda@0.5,k:0.5/0.125")
    assert one.calibrates and one != other and one.calibration == other.calibration
    assert parse(str(one.calibration)) == one.calibration
    assert one.drops == parse("a3") and not one.drops.calibrates
