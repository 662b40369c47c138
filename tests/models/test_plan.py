"""A plan's text is canonical: it parses back, and one pruned model has one text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import Refusal
from models.plan import Plan, parse

layers = st.frozensets(st.integers(0, 40), max_size=8)
plans = st.builds(Plan, layers, layers, layers)


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


def test_layers_beyond_the_model_are_named():
    assert parse("b29").checked(30) == parse("b29")
    with pytest.raises(Refusal, match="names layer 99, but this model has layers 0 to 29"):
        parse("a1,m99").checked(30)
