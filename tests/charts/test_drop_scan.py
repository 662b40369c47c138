"""Charts of the drop scan: valid, labelled, clickable, and right about what they show."""

import json

import numpy as np
import pytest

from charts import style
from charts.scan import drop_scan
from plans.operation import Shape
from plans.plan import Plan, parse
from tests.charts.fakes import axes, clickable
from tests.charts.fakes_scan import scanned

LAYERS = [1, 5, 80]


def figures(result, plan):
    return {
        **{measure: drop_scan.damage(result, plan, measure) for measure in drop_scan.MEASURES},
        "linear": drop_scan.damage(result, plan, log=False),
        **{mode: drop_scan.skips(result, plan, mode) for mode in ("current", "future")},
    }


@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize("windows", [1, 4])
def test_every_chart_is_valid_labelled_and_clickable(layers, windows):
    for plan in (Plan(), parse("b0"), parse("a0,m0")):
        for name, figure in figures(scanned(layers, windows), plan).items():
            drawn = json.loads(figure.to_json())
            assert drawn["layout"]["uirevision"] and drawn["layout"]["height"] > 200, name
            assert "NaN" not in figure.to_json(), name
            assert all(axis.title.text for axis in axes(figure)), name
            assert all(axis.dtick is None or axis.type == "log" or layers / axis.dtick <= 16 for axis in axes(figure)), name
            assert clickable(figure) and all(item.checked(Shape(layers)) for item, *_ in clickable(figure)), name


@pytest.mark.parametrize("measure", drop_scan.MEASURES)
def test_points_are_the_measured_values_and_carry_their_drop(measure):
    result = scanned(5)
    lines = {
        trace.legendgroup: trace for trace in drop_scan.damage(result, Plan(), measure).data if trace.customdata is not None
    }
    assert set(lines) == set(drop_scan.KINDS)
    for kind, trace in lines.items():
        np.testing.assert_allclose(np.array(trace.y, float), getattr(getattr(result, kind), measure), rtol=1e-4)
        assert [row[0] for row in trace.customdata] == [f"{kind[0]}{i}" for i in range(5)]


def test_whiskers_are_the_intervals_and_there_are_none_of_one_window():
    result = scanned(5)
    [first, *_] = [trace for trace in drop_scan.damage(result, Plan()).data if trace.hoverinfo == "skip"]
    np.testing.assert_allclose(np.array(first.y[0::3], float), result.attention.kl_low, rtol=1e-4)
    np.testing.assert_allclose(np.array(first.y[1::3], float), result.attention.kl_high, rtol=1e-4)
    alone = drop_scan.damage(scanned(5, 1), Plan())
    assert all(not trace.y for trace in alone.data if trace.hoverinfo == "skip" and trace.mode == "lines")
    assert "95 %" in drop_scan.damage(result, Plan()).to_json() and "95 %" not in alone.to_json()


def test_what_the_plan_drops_is_crossed_out_and_says_so():
    figure = drop_scan.damage(scanned(5), parse("a2,b0"))
    lines = {trace.legendgroup: trace for trace in figure.data if trace.customdata is not None}
    crossed = {kind: [i for i, each in enumerate(trace.marker.symbol) if each == "x"] for kind, trace in lines.items()}
    assert crossed == {"attention": [0, 2], "mlp": [0], "block": [0]}
    assert lines["attention"].customdata[2][1].endswith(style.invitation(True))
    assert lines["mlp"].customdata[2][1].endswith(style.invitation(False))
    assert any(trace.name == style.DROPPED for trace in figure.data)


def test_what_the_scanned_plan_left_nothing_of_has_no_point_and_no_cell():
    result = scanned(5, missing=(1, 3))
    for name, figure in figures(result, Plan()).items():
        assert {row[0][1:] for *_, trace, i in clickable(figure) for row in [trace.customdata[i]]} == {"0", "2", "4"}, name


def test_cells_are_the_effects_and_say_their_layers():
    result = scanned(5)
    figure = drop_scan.skips(result, Plan(), "future")
    np.testing.assert_allclose(np.array(figure.data[0].z, float), result.skip_future, rtol=1e-4)
    targets = figure.data[1]
    texts = {(s, later): row for later, s, row in zip(targets.x, targets.y, targets.customdata, strict=True)}
    assert len(texts) == 15 and texts[1, 3][0] == "b1"
    assert f"Skipping layer 1 changes what layer 3 adds by {style.number(result.skip_future[1, 3])}" in texts[1, 3][-1]
    assert "after those that skip it" in texts[1, 3][-1]


def test_what_there_is_not_cannot_be_drawn():
    with pytest.raises(ValueError, match="no measure"):
        drop_scan.damage(scanned(5), Plan(), "cosine")
    with pytest.raises(ValueError, match="not measured"):
        drop_scan.skips(scanned(5, skips=False), Plan())
