"""A plan's text is canonical: it parses back, and one pruned model has one text."""

from functools import reduce
from operator import or_

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plans.drops import Drops, dropped
from plans.keys import Keys
from plans.keys.shares import LowRank
from plans.operation import Shape
from plans.plan import EMPTY, Plan, parse
from plans.weights import Weights
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
drops = st.builds(Drops, layers, layers, layers)
weights = st.builds(Weights, sparsities)
keys = st.builds(Keys, st.builds(LowRank, shares, st.floats(0.001, 1.0)))
plans = st.lists(drops | weights | keys, max_size=4).map(lambda operations: Plan(tuple(operations)))
KINDS = (Drops, Weights, Keys)
SHAPE = Shape(30)


@given(plans)
def test_text_parses_back(plan):
    assert parse(str(plan)) == plan
    assert str(parse(str(plan))) == str(plan)
    assert hash(parse(str(plan))) == hash(plan)
    assert bool(plan) == bool(str(plan)) == (plan != EMPTY)


@given(plans)
def test_operations_stand_in_the_order_of_the_registry_once_each(plan):
    assert [type(op) for op in plan.operations] == [kind for kind in KINDS if plan.of(kind)]
    assert all(plan.operations)
    assert reduce(or_, (Plan((op,)) for op in reversed(plan.operations)), EMPTY) == plan


@given(plans, plans)
def test_union_and_difference(one, two):
    both, mine, theirs = one | two, dropped(one), dropped(two)
    assert dropped(both).no_attention == mine.no_attention | theirs.no_attention
    assert dropped(both).no_mlp == mine.no_mlp | theirs.no_mlp
    rest = both - two
    assert dropped(rest).no_attention == mine.no_attention - theirs.no_attention
    assert dropped(rest).no_mlp == mine.no_mlp - theirs.no_mlp
    assert (rest | two) == both
    for kind in (Weights, Keys):  # they exclude each other
        assert both.of(kind) == (two.of(kind) or one.of(kind))
        assert rest.of(kind) == (None if two.of(kind) else one.of(kind))
    assert not (two - two) and Plan((theirs,)) | two == two


@given(plans, plans, plans)
def test_union_is_associative_and_the_empty_plan_changes_nothing(one, two, three):
    assert (one | two) | three == one | (two | three)
    assert one | one == one | EMPTY == EMPTY | one == one - EMPTY == one
    assert not EMPTY - one
    assert (one - two) - two == one - two and ((one | two) - two) - one == EMPTY


@given(plans, plans)
def test_what_two_plans_have_in_common_is_not_done_twice(one, two):
    """Operations of different kinds do not mind who comes first."""
    apart = Plan(tuple(op for op in two.operations if one.of(type(op)) is None))
    assert one | apart == apart | one and (one | apart) - apart == one


@given(plans)
def test_a_plan_is_what_it_does_at_once_and_what_it_learns_for(plan):
    assert plan.at_once | Plan(plan.learning) == plan and not plan.at_once.learning
    for op in plan.operations:
        assert plan.without(op.name).put(op) == plan and plan.of(type(op)) == op
        before = plan.before(op)
        assert before.operations == plan.operations[: len(before.operations)]
        assert plan.operations[len(before.operations)] == op
        for layer in range(41):
            for part in ("attention", "mlp"):
                assert plan.touches(layer, part) >= op.touches(layer, part)


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
        ("w:wanda@0.5,a1,w:wanda@0.50", "a1,w:wanda@0.5"),
    ],
)
def test_one_model_has_one_text(written, canonical):
    assert str(parse(written)) == canonical


@pytest.mark.parametrize(
    ("typo", "sentence"),
    [
        ("x3", "'x3' is not part of a plan. Write a25 for the attention of layer 25, .* k:0.25/0.5 for attention to half"),
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
        ("k:0.5/0.5.1", "'0.5.1' is not a number"),
        ("w:wanda@0.5,w:magnitude@0.5", "at most one item 'w:': 'w:wanda@0.5' or 'w:magnitude@0.5'"),
        ("k:0.5/0.5,a1,k:0.5/0.25", "at most one item 'k:'"),
    ],
)
def test_typos_are_named(typo, sentence):
    with pytest.raises(Refusal, match=sentence):
        parse(typo)


def test_sentences_say_what_a_plan_does():
    assert parse("").sentence(SHAPE) == "Plan is empty (dense model)"
    assert parse("b21-28").sentence(SHAPE) == "removes layers 21–28 (8 layers)"
    assert parse("a3,a7").sentence(SHAPE) == "removes the attention of layers 3, 7 (2 layers)"
    assert parse("a3,m5").sentence(SHAPE) == "removes the attention of layer 3; the MLP of layer 5"
    assert "every block" in parse("b0-29").sentence(SHAPE)
    assert parse("b0-29").sentence() == "removes layers 0–29 (30 layers)", "how many there are is not known"
    assert parse("a3,w:wanda@2:4").sentence(SHAPE) == (
        "removes the attention of layer 3; sets 2 of every 4 remaining weights to zero, chosen by Wanda"
    )
    assert parse("b0-4,w:wanda@0.5").sentence(Shape(5)) == (
        "removes every block; only the embedding, the final norm and the head are left; sets 50 % of the remaining weights to "
        "zero, chosen by Wanda"
    )
    assert parse("k:0.25/0.5/loki").sentence(SHAPE) == (
        "attends to 50 % of the whole text's keys, as Loki's code counts them, chosen in 25 % of their dimensions"
    )
    assert parse("k:0.25/0.5").sentence(SHAPE) == "attends to 50 % of the keys, chosen in 25 % of their dimensions"


def test_layers_beyond_the_model_are_named():
    assert parse("b29").checked(SHAPE) == parse("b29")
    with pytest.raises(Refusal, match="names layer 99, but this model has layers 0 to 29"):
        parse("a1,m99").checked(SHAPE)


def test_an_attention_that_stays_is_told_by_what_would_replace_it():
    stays = Shape(30, "It stays.")
    assert parse("a1,w:wanda@0.5").checked(stays)
    with pytest.raises(Refusal, match=r"^It stays\.$"):
        parse("a1,w:wanda@0.5,k:0.5/0.5").checked(stays)


def test_what_is_learned_does_not_depend_on_how_much_of_it_is_used():
    one, other = parse("a3,w:wanda@0.5,k:0.25/0.5"), parse("a3,w:wanda@0.5,k:0.5/0.125")
    assert one != other and [op.basis() for op in one.learning] == [op.basis() for op in other.learning]
    assert all(op.basis().basis() == op.basis() and parse(str(op.basis())) == Plan((op.basis(),)) for op in one.learning)
    assert one.at_once == parse("a3") and not parse("a3").learning
    keys = one.of(Keys)
    assert one.before(keys) == parse("a3,w:wanda@0.5")


@pytest.mark.parametrize(
    "text",
    ["a" + "9" * 5000, "b1-" + "9" * 5000, "w:wanda@" + "9" * 5000, "w:wanda@2:" + "9" * 5000, "k:" + "1" * 5000 + "/0.5"],
    ids=range(5),
)
def test_numbers_of_thousands_of_digits_are_no_part_of_a_plan(text):
    with pytest.raises(Refusal, match=r"is not part of a plan: it has 5,0\d\d characters") as caught:
        parse(text)
    assert len(str(caught.value)) < 200


def test_a_plan_without_end_is_refused():
    with pytest.raises(Refusal, match="characters; at most"):
        parse("b0-9999," * 100_000)


@given(st.text() | st.text(alphabet="abmwk0123456789:/@.,- ٣²\n\0") | st.from_regex(r"[abmwk]:?\w*@?[\d.:/-]*"))
def test_any_text_is_a_plan_or_refused(text):
    try:
        plan = parse(text)
    except Refusal as refusal:
        assert str(refusal)
    else:
        assert parse(str(plan)) == plan
