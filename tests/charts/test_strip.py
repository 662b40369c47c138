"""The cells of the strip: the better of two answers, one scale for all parts, nothing said of what was not measured."""

import math
from types import SimpleNamespace

import pytest

from charts import strip, style

SIMILARITY = SimpleNamespace(attention=[0.0, 0.99], mlp=[0.9, 0.5], block=[0.5, 1.0])
SCAN = SimpleNamespace(
    attention=SimpleNamespace(kl=[0.001, 10.0]), mlp=SimpleNamespace(kl=[0.1, math.nan]), block=SimpleNamespace(kl=[1.0, 0.0])
)


def test_a_scan_goes_before_similarity():
    assert strip.measured(None, None) is None
    assert strip.measured(None, SIMILARITY).name == "1 − cosine"
    assert strip.measured(SCAN, SIMILARITY).name == "KL"


def test_shades_are_even_on_a_logarithmic_scale_over_all_parts():
    rows = strip.rows(2, strip.measured(SCAN, None))
    assert rows["attention"]["shade"] == [1.0, 0.0]
    assert rows["mlp"]["shade"] == [pytest.approx(0.5), None]
    assert rows["block"]["shade"] == [pytest.approx(0.25), 1.0], "what costs nothing is as redundant as can be"


def test_numbers_are_said_with_their_unit():
    rows = strip.rows(2, strip.measured(SCAN, None))
    assert rows["mlp"]["said"] == ["KL 0.100 nats", ""] and rows["block"]["said"] == ["KL 1.00 nats", "KL 0 nats"]
    assert strip.rows(2, strip.measured(None, SIMILARITY))["mlp"]["said"] == ["1 − cosine 0.100", "1 − cosine 0.500"]
    assert strip.measured(None, SIMILARITY).range == (pytest.approx(0.01), 1.0)


def test_without_an_answer_every_part_has_its_colour_and_nothing_else():
    assert strip.rows(3, None) == {
        part: {"colour": style.COLOUR[part], "shade": [None] * 3, "said": [""] * 3} for part in ("attention", "mlp", "block")
    }


def test_parts_that_cost_the_same_look_the_same():
    same = SimpleNamespace(kl=[0.5, 0.5])
    rows = strip.rows(2, strip.measured(SimpleNamespace(attention=same, mlp=same, block=same), None))
    assert {shade for row in rows.values() for shade in row["shade"]} == {1.0}
