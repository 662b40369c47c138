"""Questions of any values: each can be resolved, or is refused in a sentence."""

from dataclasses import fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.subject import ModelRef
from probes import PROBES
from probes.base import read_params
from probes.gate import conditions
from probes.question import Question, resolve
from refusal import Refusal
from texts.corpus import CorpusRef
from texts.items import read_items
from texts.prompts import prompts_of

NUMBERS = st.sampled_from(["1e309", "nan", "-inf", "9" * 5000, "0x1", "١٢", "1_000", "", "-0", "1e-400"])
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | NUMBERS
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner), max_leaves=5)
DEEP = "[" * 100_000
ODD = [DEEP, "9" * 5000, "1e309", "nan", "\0", "\ud800", "~nobody/x", float("inf"), float("nan"), -1, 10**30]


def named(name):
    """The names of a probe's parameters, and one that it has not."""
    return st.sampled_from([*(field.name for field in fields(PROBES[name].params)), "none"])


@pytest.mark.parametrize("name", PROBES)
def test_any_parameters(name):
    @given(st.dictionaries(named(name), VALUES, max_size=4))
    @settings(deadline=None, max_examples=150)
    def check(given):
        try:
            read_params(PROBES[name], given)
        except Refusal as refusal:
            assert str(refusal)

    check()


@pytest.mark.parametrize("name", PROBES)
@pytest.mark.parametrize("value", ODD, ids=range(len(ODD)))
def test_odd_values_of_every_parameter(name, value):
    for field in fields(PROBES[name].params):
        try:
            resolve(Question(name, params={field.name: value}), lambda ref: "0" * 64)
        except Refusal as refusal:
            assert str(refusal)


@given(st.text(), st.text(), st.text(), st.text(max_size=8))
@settings(deadline=None, max_examples=200)
def test_any_names(model, corpus, plan, probe):
    for probed in (probe, "fidelity"):
        try:
            resolve(Question(probed, ModelRef(model), CorpusRef(corpus), plan), lambda ref: "0" * 64)
        except Refusal as refusal:
            assert str(refusal)


@given(st.text() | st.lists(st.from_regex(r"\{.*\}"), max_size=3).map("\n".join))
@settings(deadline=None)
def test_any_items_prompts_and_conditions(text):
    for read in (read_items, prompts_of, lambda given: conditions([given])):
        try:
            read(text)
        except Refusal as refusal:
            assert str(refusal)


@pytest.mark.parametrize("line", [DEEP, '{"question": "a", "options": ["x", "y"], "answer": ' + "9" * 5000 + "}"], ids=range(2))
def test_items_that_are_nested_deeply_or_hold_long_numbers(line):
    with pytest.raises(Refusal, match="this is not JSON"):
        read_items(line)
