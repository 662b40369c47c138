"""Charts of the transitions probe: three spaces on one axis, estimates dotted, tokens in the hover texts."""

import dataclasses
import json
import math

import numpy as np
import pytest

from charts import style
from charts.deviation import spaces, transitions
from tests.charts.fakes import axes
from tests.charts.fakes_deviation import moved

PLANS = {"a1": moved(), "w:wanda@0.5": moved(mode="pruned", size=0.1, seed=1)}
TEXTS = {
    plan: [([f"<d{i}>"] * 5, [f"m{i}&"] * 5) for i in range(5)] for plan in PLANS
}  # at each depth what both sides would say


def lines(figure, name):
    """The drawn traces of a name, row by row."""
    return [trace for trace in figure.data if trace.name == name and len(trace.x) > 1]


@pytest.mark.parametrize("band", [True, False])
@pytest.mark.parametrize("results", [PLANS, {"a1": PLANS["a1"]}, {"a1": None, "m0": PLANS["a1"]}])
def test_every_chart_is_valid_and_labelled(results, band):
    for figure in (transitions.depth(results, None, band), transitions.alone(results), transitions.alone(results, norm=False)):
        assert "NaN" not in figure.to_json() and json.loads(figure.to_json())
        assert all(axis.title.text for axis in figure.select_yaxes(col=1))
        assert all(axis.title.text for axis in figure.select_xaxes(row=4))
        assert figure.layout.uirevision and figure.layout.height > 400
        assert all(axis.type == "log" for axis in figure.select_yaxes())


def test_lines_are_one_minus_cosine_by_depth_and_kl_in_nats():
    figure, whole = transitions.depth(PLANS), PLANS["w:wanda@0.5"].cumulative
    for line, name in zip(lines(figure, "w:wanda@0.5"), ("h", "z", "p"), strict=False):
        expected = 1 - np.array(getattr(whole, f"{name}_cosine"))
        assert list(line.x) == [0, 1, 2, 3, 4] and line.y[0] is None and line.y[1] is None
        np.testing.assert_allclose(np.array(line.y[2:], float), expected[2:], rtol=1e-4)
    np.testing.assert_allclose(np.array(lines(figure, "w:wanda@0.5")[3].y[2:], float), whole.kl[2:], rtol=1e-4)


def test_the_three_spaces_share_their_axis_and_kl_has_its_own():
    ranges = [tuple(axis.range) for axis in transitions.depth(PLANS).select_yaxes()]
    assert len(set(ranges[:3])) == 1 and ranges[3] != ranges[0]


def test_estimates_are_dotted_and_can_be_left_out():
    figure = transitions.depth(PLANS)
    dotted = [trace for trace in figure.data if trace.name == "a1, estimate"]
    assert [trace.line.dash for trace in dotted] == ["dot"] * 4
    for trace, name in zip(dotted, ("h", "z", "p", "kl"), strict=True):
        expected = np.array(getattr(PLANS["a1"].cumulative, f"{name}_estimate"))[2:]
        np.testing.assert_allclose(np.array(trace.y[2:], float), expected, rtol=1e-4)
    assert "second-order estimate" in {trace.name for trace in figure.data}
    without = transitions.depth(PLANS, estimates=False)
    assert not any(trace.name and "estimate" in trace.name for trace in without.data)


def test_each_plan_has_its_colour_mark_and_dash_wherever_it_stands():
    four = {plan: PLANS["w:wanda@0.5"] for plan in ("w:wanda@0.1", "w:wanda@0.2", "w:wanda@0.3", "w:wanda@0.4")}

    def looks(figure):
        seen = {plan: lines(figure, plan)[0] for plan in four if lines(figure, plan)}
        return {plan: (line.line.color, line.marker.symbol, line.line.dash) for plan, line in seen.items()}

    for chart in (transitions.depth, transitions.alone):
        whole = looks(chart(four))
        for part in zip(*whole.values(), strict=True):
            assert len(set(part)) == 4 and "dot" not in part  # in black and white, too; dotted are the estimates
        assert looks(chart({"x": None, **dict(list(four.items())[1:])})) == dict(list(whole.items())[1:])


def test_bands_reach_from_5_to_95_percent():
    figure, found = transitions.depth(PLANS), PLANS["a1"].cumulative
    bands = [trace for trace in figure.data if trace.name == "a1, spread"]
    for trace, spread in zip(bands, (found.h_cosine_spread, found.z_cosine_spread, found.p_cosine_spread), strict=False):
        expected = [*(1 - spread[2:, 2]), *(1 - spread[2:, 0])[::-1]]
        np.testing.assert_allclose(np.array(trace.y, float), expected, rtol=1e-4)
    np.testing.assert_allclose(np.array(bands[3].y[:3], float), found.kl_spread[2:, 0], rtol=1e-4)
    assert not any(trace.fill for trace in transitions.depth(PLANS, band=False).data)


def test_hover_texts_tell_place_numbers_and_escaped_tokens():
    text = lines(transitions.depth(PLANS, TEXTS), "a1")[0].customdata[3][0]
    assert "<b>a1</b>: 1 − cos(h) = " in text and "(estimate " in text and "After layer 2" in text
    assert "dense: ‘&lt;d3&gt;’" in text and "modified: ‘m3&amp;’" in text
    assert lines(transitions.depth(PLANS, TEXTS), "a1")[0].customdata[0][0].count("The embedding") == 1


def test_plans_that_only_drop_share_a_line_where_sublayers_stand_alone():
    figure = transitions.alone({"w:wanda@0.5": PLANS["w:wanda@0.5"], "a1,m3": moved(), "a2": moved()})
    shared = lines(figure, "left out alone")
    assert len(shared) == 8 and len(lines(figure, "w:wanda@0.5")) == 8
    attention, mlp = shared[0], shared[4]
    assert [i for i, size in enumerate(attention.marker.size) if size > 6] == [1, 2]
    assert [i for i, size in enumerate(mlp.marker.size) if size > 6] == [3]
    assert list(attention.marker.color)[1:3] == list(spaces.PLANS[1:3]) and mlp.marker.color[3] == spaces.PLANS[1]
    assert "Attention of layer 2" in attention.customdata[2][0]


def test_the_final_norm_changes_what_is_drawn():
    with_norm, without = (lines(transitions.alone(PLANS, norm), "left out alone")[1] for norm in (True, False))
    np.testing.assert_allclose(np.array(with_norm.y, float), 1 - np.array(PLANS["a1"].attention.z_cosine), rtol=1e-4)
    np.testing.assert_allclose(np.array(without.y, float), 1 - np.array(PLANS["a1"].raw_attention.z_cosine), rtol=1e-4)


def test_a_plan_that_changes_nothing_can_be_drawn():
    still = moved(size=0.0)
    for figure in (transitions.depth({"a1": still}), transitions.alone({"a1": still})):
        assert json.loads(figure.to_json()) and "NaN" not in figure.to_json()


def test_values_that_are_none_are_gaps():
    found = PLANS["a1"].cumulative
    holed = dataclasses.replace(found, kl=[*found.kl[:-1], math.inf], h_cosine=[math.nan, *found.h_cosine[1:]])
    figure = transitions.depth({"a1": dataclasses.replace(PLANS["a1"], cumulative=holed)})
    assert lines(figure, "a1")[3].y[-1] is None and "NaN" not in figure.to_json() and "Infinity" not in figure.to_json()


def test_no_axis_is_crowded():
    deep = moved(layers=80)
    for figure in (transitions.depth({"a1": deep}), transitions.alone({"a1": deep})):
        assert all(81 / axis.dtick <= 17 for axis in axes(figure) if axis.dtick and axis.type != "log")


def test_a_long_plan_is_clipped_in_the_legend():
    assert len(style.plan_name(",".join(f"a{i}" for i in range(30)))) == 32
    assert len(spaces.PLANS) == len(spaces.SYMBOLS) == len(set(spaces.PLANS)) == 4


def test_the_axis_starts_where_the_plan_does():
    late = moved(layers=20)
    sizes = [0.0] * 15 + late.cumulative.kl[15:]
    for name in ("h_cosine", "z_cosine", "p_cosine"):
        getattr(late.cumulative, name)[:15] = [1.0] * 15
    whole = dataclasses.replace(late.cumulative, kl=sizes)
    figure = transitions.depth({"a14": dataclasses.replace(late, cumulative=whole)})
    axis = list(figure.select_xaxes())[-1]
    assert 12 < axis.range[0] < 14 and "no change before 15" in axis.title.text
    assert "no change" not in str(transitions.depth(PLANS).to_json())


@pytest.mark.parametrize("norm", [True, False])
def test_the_table_has_every_sublayer_once(norm):
    rows = transitions.table({"a1": moved(), "a2": moved(), "x": None, "w:wanda@0.5": PLANS["w:wanda@0.5"]}, norm)
    assert [row["part"] for row in rows[:8]] == ["a0", "a1", "a2", "a3", "m0", "m1", "m2", "m3"] and len(rows) == 16
    found = PLANS["w:wanda@0.5"].mlp if norm else PLANS["w:wanda@0.5"].raw_mlp
    last = rows[-1]
    assert last["1 − cos(z)"] == 1 - found.z_cosine[3] and last["KL reversed"] == found.reverse_kl[3]
    assert last["orthogonal part of Δz"] == found.z_orthogonal[3]
