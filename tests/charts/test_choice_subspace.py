"""Charts of the choice probe: vocabulary against options, and the items that flipped."""

import json

import numpy as np
import pytest

from charts.choice import choice_subspace as charts
from tests.charts.fakes_deviation import ITEMS, chosen

RESULTS = {"a1": chosen(), "b2": chosen(size=6.0, seed=2)}
WAYS = ["letters", "texts"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("results", [RESULTS, {"a1": None, "b2": RESULTS["b2"]}, {"a1": chosen(size=0.0)}])
def test_every_chart_is_valid_and_labelled(results, way):
    for figure in (charts.subspaces(results, way), charts.each_item(results, way)):
        assert "NaN" not in figure.to_json() and json.loads(figure.to_json())
        assert all(axis.title.text for axis in figure.select_xaxes()) and next(figure.select_yaxes()).title.text


@pytest.mark.parametrize("way", WAYS)
def test_a_row_per_plan_joins_vocabulary_and_options(way):
    figure = charts.subspaces(RESULTS, way)
    drawn = [trace for trace in figure.data if trace.customdata is not None]
    assert len(drawn) == 6 and list(figure.layout.yaxis.ticktext) == ["a1", "b2"]
    for column, name in enumerate(("logit_cosine", "prob_cosine", "kl")):
        for row, result in enumerate(RESULTS.values()):
            means = getattr(result, way).means
            both = [means[name], means[f"option_{name}"]]
            expected = both if name == "kl" else [1 - each for each in both]
            trace = drawn[2 * column + row]
            np.testing.assert_allclose(np.array(trace.x, float), expected, rtol=1e-4)
            assert list(trace.y) == [row, row] and trace.marker.symbol[0].endswith("-open")
            assert "options alone: " in trace.customdata[0][0]


def test_items_are_points_and_another_choice_a_cross():
    figure = charts.each_item(RESULTS, "letters")
    result, points = RESULTS["b2"].letters, figure.data[1]
    np.testing.assert_allclose(np.array(points.x, float), result.kl, rtol=1e-4)
    np.testing.assert_allclose(np.array(points.y, float), result.option_kl, rtol=1e-4)
    assert [symbol == "x" for symbol in points.marker.symbol] == (result.chosen != result.dense_chosen).tolist()
    assert "capital of &lt;b&gt;France&lt;/b&gt; is" in points.customdata[0][0]


def test_items_without_a_subspace_are_left_out():
    assert len(charts.each_item(RESULTS, "texts").data[0].x) == len(ITEMS) - 1


def test_the_summary_has_a_row_per_plan_and_way():
    table = charts.summary(RESULTS)
    assert [(row["plan"], row["chosen"]) for row in table] == [
        ("a1", "by letter"), ("a1", "by text"), ("b2", "by letter"), ("b2", "by text"),
    ]  # fmt: skip
    found = RESULTS["b2"].texts
    assert (table[3]["right, pruned"], table[3]["same choice"]) == (found.accuracy, found.agreement)


@pytest.mark.parametrize("way", WAYS)
def test_flipped_items_say_what_they_became(way):
    result = RESULTS["b2"]
    found, rows = getattr(result, way), charts.flipped(result, way)
    assert len(rows) == int((found.chosen != found.dense_chosen).sum()) > 0
    assert [row["margin, dense"] for row in rows] == sorted((row["margin, dense"] for row in rows), reverse=True)
    for row in rows:
        place = result.questions.index(row["question"])
        before, after = (int(each[place]) == result.answers[place] for each in (found.dense_chosen, found.chosen))
        assert row["became"] == f"{'right' if before else 'wrong'} → {'right' if after else 'wrong'}"
        assert row["pruned chooses"] == f"{'ABC'[found.chosen[place]]}. {result.options[place][found.chosen[place]]}"
    assert charts.flipped(chosen(size=0.0), way) == []


def test_categories_add_up():
    rows = charts.categories(RESULTS["a1"], "letters")
    assert sum(row["items"] for row in rows) == len(ITEMS) and {row["category"] for row in rows} >= {"facts", "grammar"}
