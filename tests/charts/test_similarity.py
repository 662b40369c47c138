"""Charts of the similarity probe: valid, labelled, clickable, and right about what they show."""

import json
import math

import numpy as np
import pytest

from charts import style
from charts.redundancy import similarity
from plans.drops import Drops, dropped
from plans.operation import Shape
from plans.plan import Plan, parse
from tests.charts.fakes import axes, clickable, similar

LAYERS = [1, 5, 80]


def plans(layers: int) -> list[Plan]:
    everything = Plan((Drops(blocks=frozenset(range(layers))),))
    return [Plan(), everything] + ([parse("a2,m3,b0-1")] if layers > 3 else [])


def figures(layers: int, plan: Plan) -> dict:
    result = similar(layers)
    return {
        "importance": similarity.importance(result, plan),
        "importance linear": similarity.importance(result, plan, first=False, log=False),
        "importance of MLPs": similarity.importance(result, plan, kinds=("mlp",)),
        **{f"states {measure}": similarity.states(result, plan, measure) for measure in ("angular", "cosine", "angular_last")},
        "states without first": similarity.states(result, plan, first=False, lengths=[1]),
        "spans": similarity.spans(result, plan),
        "spans as they are": similarity.spans(result, plan, rowwise=False, measure="cosine"),
        "contributions": similarity.contributions(result),
        "contributions linear": similarity.contributions(result, first=False, log=False),
        "span curve": similarity.span_curve(result, plan),
    }


@pytest.mark.parametrize("layers", LAYERS)
def test_every_chart_is_valid_labelled_and_clickable(layers):
    for plan in plans(layers):
        for name, figure in figures(layers, plan).items():
            drawn = json.loads(figure.to_json())
            assert drawn["layout"]["uirevision"] and drawn["layout"]["height"] > 200, name
            assert "NaN" not in figure.to_json(), name
            assert all(axis.title.text for axis in figure.select_yaxes()), name
            assert [axis.title.text for axis in figure.select_xaxes()][-1], name
            assert clickable(figure), name
            for item, *_ in clickable(figure):
                assert item and item.checked(Shape(layers)), name


@pytest.mark.parametrize("layers", LAYERS)
def test_no_axis_is_crowded(layers):
    for figure in figures(layers, Plan()).values():
        for axis in axes(figure):
            assert axis.dtick is None or axis.type == "log" or layers / axis.dtick <= 16


def test_importance_is_one_minus_cosine_and_says_its_rank():
    result = similar(5)
    for kind, bars in zip(similarity.KINDS, _bars(similarity.importance(result, Plan(), log=False)), strict=True):
        np.testing.assert_allclose(bars.y, 1 - np.array(getattr(result, kind)))
        for place, layer in enumerate(getattr(result, f"{kind}_order"), 1):
            assert f"rank {place} of 5" in bars.customdata[layer][1]


def test_importance_without_the_first_position_is_other_numbers():
    result = similar(5)
    attention, *_ = _bars(similarity.importance(result, Plan(), first=False, log=False))
    np.testing.assert_allclose(attention.y, 1 - np.array(result.without_first.attention))
    assert list(attention.y) != list(_bars(similarity.importance(result, Plan(), log=False))[0].y)


@pytest.mark.parametrize("log", [True, False])
def test_the_spread_goes_up_around_the_median(log):
    result = similar(5)
    figure = similarity.importance(result, Plan(), log=log)
    whiskers = [trace for trace in figure.data if trace.type == "scatter" and len(trace.x) > 1]
    assert len(whiskers) == 3
    for kind, trace in zip(similarity.KINDS, whiskers, strict=True):
        low, high = np.array(trace.y[0::3], float), np.array(trace.y[1::3], float)
        median = 1 - getattr(result, f"{kind}_spread")[:, 2]
        assert (low < high).all() and (high >= median).all()
        assert log or (low <= median).all()
        assert trace.x[0:3] == (0, 0, None)


def test_what_is_dropped_is_hatched_and_says_so():
    figure = similarity.importance(similar(5), parse("a2,m3,b0-1"))
    for bars, gone in zip(_bars(figure), ({0, 1, 2}, {0, 1, 3}, {0, 1}), strict=True):
        hatched = {i for i, shape in enumerate(bars.marker.pattern.shape) if shape}
        assert hatched == gone
        assert {i for i, row in enumerate(bars.customdata) if "click to put it back" in row[1]} == gone
    assert "dropped by the plan" in {trace.name for trace in figure.data}
    assert "dropped by the plan" not in {trace.name for trace in similarity.importance(similar(5), Plan()).data}


def test_nothing_fades_when_a_bar_is_clicked():
    assert all(bars.unselected.marker.opacity == 1 for bars in _bars(similarity.importance(similar(5), Plan())))


def test_a_part_that_turns_nothing_has_a_place_on_a_logarithmic_axis():
    result = similar(5)
    silent = similar.__wrapped__(5)
    silent.attention[2] = 1.0
    bars = _bars(similarity.importance(silent, Plan()))[0]
    assert 0 < bars.y[2] < min(1 - np.array(result.mlp))
    assert "importance 0 " in bars.customdata[2][1]


@pytest.mark.parametrize("measure", ["angular", "cosine", "angular_last"])
def test_a_cell_carries_the_span_between_its_states(measure):
    result = similar(5)
    figure = similarity.states(result, Plan(), measure)
    heat, targets = figure.data[0], _targets(figure)
    assert len(targets.x) == 15
    for after, before, (plan, text) in zip(targets.x, targets.y, targets.customdata, strict=True):
        assert dropped(parse(plan)).blocks == set(range(before, after))
        assert heat.z[before][after] == pytest.approx(getattr(result, measure)[before, after], rel=1e-3)
        assert ("the output of the last layer" in text) == (after == 5)
    assert all(heat.z[i][j] is None for i in range(6) for j in range(i + 1))


def test_the_text_of_a_cell_is_a_sentence():
    targets = _targets(similarity.states(similar(80), Plan()))
    text = dict(targets.customdata)["b21-28"]
    assert "From the input of layer 21 to the input of layer 29: distance 0." in text
    assert "removes <b>layers 21–28 (8 layers)</b>" in text and "click to drop" in text


def test_colours_span_what_is_there_even_if_it_is_one_cell():
    for layers in LAYERS:
        for figure in (similarity.states(similar(layers), Plan()), similarity.spans(similar(layers), Plan())):
            heat = figure.data[0]
            values = [value for row in heat.z for value in row if value is not None]
            assert heat.zmin == pytest.approx(min(values), rel=1e-3) and heat.zmax > heat.zmin
            assert layers == 1 or heat.zmax == pytest.approx(max(values), rel=1e-3)


@pytest.mark.parametrize("layers", [5, 30, 126])
def test_places_to_click_are_not_drawn_and_reach_the_corners_of_their_cells(layers):
    for figure in (similarity.states(similar(layers), Plan()), similarity.spans(similar(layers), Plan())):
        assert _targets(figure).mode == "text" and _targets(figure).text is None
        margin, cell = figure.layout.margin, (style.widest(figure) - figure.layout.margin.l - figure.layout.margin.r) / layers
        plot = figure.layout.yaxis.domain[1] * (figure.layout.height - margin.t - margin.b)
        assert plot == pytest.approx(cell * layers, rel=0.01), "a cell is as high as wide where there is room"
        assert cell * math.sqrt(0.5) <= figure.layout.hoverdistance <= cell + 1


def test_the_spans_of_the_plan_are_crossed_in_both_maps():
    plan = parse("a4,b0-1,b3")
    assert _marked(similarity.states(similar(5), plan), "dropped by the plan") == [(2, 0), (4, 3)]
    assert _marked(similarity.spans(similar(5), plan), "dropped by the plan") == [(0, 2), (3, 1)]
    kept = {row[0] for row in _targets(similarity.states(similar(5), plan)).customdata if "click to put it back" in row[1]}
    assert kept == {"b0", "b1", "b0-1", "b3"}


def test_the_best_span_of_each_length_is_marked():
    result = similar(5)
    marked = _marked(similarity.spans(result, Plan()), "best of its length")
    assert marked == [(span["start"], span["length"]) for span in result.spans]
    marked = _marked(similarity.states(result, Plan()), "best of its length")
    assert marked == [(span["stop"], span["start"]) for span in result.spans if span["length"] in (1, 2, 4)]


def test_the_best_span_by_cosine_has_the_highest():
    result = similar(5)
    marked = _marked(similarity.states(result, Plan(), "cosine", lengths=[2]), "best of its length")
    start = int(np.diagonal(result.cosine, 2).argmax())
    assert marked == [(start + 2, start)]


@pytest.mark.parametrize("measure", ["angular", "cosine"])
def test_rows_are_stretched_from_best_to_worst(measure):
    result = similar(5)
    for length, row in enumerate(similarity.spans(result, Plan(), measure=measure).data[0].z, 1):
        values = [value for value in row if value is not None]
        assert len(values) == 6 - length
        assert min(values) == 0 and max(values) == (1 if length < 5 else 0)
        cosines = np.diagonal(result.cosine, length)
        if measure == "cosine":
            assert int(np.argmin(values)) == int(cosines.argmax())


def test_an_unknown_measure_is_refused():
    with pytest.raises(ValueError, match="no measure 'cka'"):
        similarity.states(similar(5), Plan(), "cka")


def test_contributions_draw_lengths_and_turns():
    result = similar(5)
    figure = similarity.contributions(result)
    assert [list(trace.y) for trace in figure.data[:6]] == [
        getattr(result, f"{kind}_{what}") for kind in similarity.KINDS for what in ("norm", "turn")
    ]
    assert figure.layout.yaxis.type == "log"


def test_the_span_curve_names_the_layers_and_the_plan():
    result = similar(5)
    chosen = result.spans[1]
    curve = similarity.span_curve(result, parse(chosen["plan"])).data[0]
    assert list(curve.y) == [span["angular"] for span in result.spans]
    assert curve.marker.symbol[1] == "x" and curve.marker.symbol[4] == "circle"
    assert f"layers {chosen['start']}–{chosen['stop'] - 1} (2 layers)" in curve.customdata[1][1]


def _bars(figure) -> list:
    return [trace for trace in figure.data if trace.type == "bar" and trace.customdata is not None]


def _targets(figure):
    return next(trace for trace in figure.data if trace.customdata is not None)


def _marked(figure, name: str) -> list[tuple[int, int]]:
    trace = next(trace for trace in figure.data if trace.name == name)
    return list(zip(trace.x, trace.y, strict=True))
