"""Charts of the low-rank attention probe: valid, labelled, clickable, and right about what they show."""

import dataclasses
import json

import numpy as np
import pytest

from charts.keys import low_rank_attention as charts
from tests.charts.fakes_key_rank import approximated

GRIDS = [((0.5, 0.25, 0.125), (0.5, 0.25, 0.125)), ((1.0,), (0.1,)), ((0.25, 0.5), (0.1, 0.9, 0.3, 0.5, 0.7))]


@pytest.mark.parametrize("layers", [(0,), (0, 2, 5), tuple(range(80))])
@pytest.mark.parametrize("dims, top", GRIDS)
def test_every_chart_is_valid_and_labelled(layers, dims, top):
    result = approximated(layers, dims, top)
    figures = [charts.grid(result, (dims[0], top[0])), charts.grid(result, measure="kl")]
    figures += [charts.baselines(result, dims[0]), charts.by_layer(result, dims[0], top[0])]
    for figure in figures:
        text = figure.to_json()
        drawn = json.loads(text)
        assert drawn["layout"]["uirevision"] and drawn["layout"]["height"] > 200
        assert "NaN" not in text and "Infinity" not in text
        assert figure.layout.xaxis.title.text and figure.layout.yaxis.title.text


def targets(figure):
    return next(trace for trace in figure.data if trace.customdata is not None)


@pytest.mark.parametrize("measure", ["perplexity", "kl"])
@pytest.mark.parametrize("dims, top", GRIDS)
def test_a_cell_has_its_own_numbers_whatever_the_order_of_the_grid(dims, top, measure):
    result = approximated(dims=dims, top=top)
    figure = charts.grid(result, measure=measure)
    heat, points = figure.data[0], targets(figure)
    assert len(points.x) == len(dims) * len(top)
    for x, y, (part, share, text) in zip(points.x, points.y, points.customdata, strict=True):
        i, j = dims.index(part), top.index(share)
        assert heat.z[y][x] == pytest.approx(np.log10(getattr(result, measure)[i, j]), rel=1e-3)
        assert f"cost {100 * result.cost[i, j]:.0f} %" in heat.text[y][x]
        assert f"reads {100 * result.cost[i, j]:.4g} % of what dense" in text
        assert f"by the paper’s formula {100 * result.paper_cost[i, j]:.4g} %" in text
        assert figure.layout.xaxis.ticktext[x] == charts.percent(share)
        assert figure.layout.yaxis.ticktext[y] == charts.percent(part)
        assert f"{charts.percent(share)} of the keys, chosen in {charts.percent(part)} of the dimensions" in text
    assert list(figure.layout.xaxis.ticktext) == [charts.percent(share) for share in sorted(top, reverse=True)]


def test_the_front_is_marked_and_said():
    result = approximated(dims=(0.25, 0.5), top=(0.1, 0.9))
    figure = charts.grid(result)
    front = next(trace for trace in figure.data if (trace.name or "").startswith("Pareto"))
    marked = {(round(float(y)), round(float(x))) for x, y in zip(front.x, front.y, strict=True)}
    turned = {(1 - i, 1 - j) for i, j in result.front}  # both were asked for in rising order
    assert marked == turned and len(marked) == len(front.x)
    said = {(y, x) for x, y, (*_, text) in zip(*(targets(figure)[k] for k in ("x", "y", "customdata")), strict=True)
            if "both cheaper and better" in text}  # fmt: skip
    assert said == marked


def test_the_chosen_cell_is_framed():
    result = approximated()
    frames = charts.grid(result, (0.25, 0.125)).layout.shapes
    assert {(each.x0, each.x1, each.y0, each.y1) for each in frames} == {(1.5, 2.5, 0.5, 1.5)}
    assert not charts.grid(result, (0.3, 0.125)).layout.shapes


def test_an_infinite_perplexity_can_be_drawn():
    result = approximated.__wrapped__()
    result.perplexity[2, 2] = np.inf
    result.baseline_perplexity["random"][0] = np.inf
    figure = charts.grid(result)
    assert np.isfinite(np.array(figure.data[0].z)).all() and "∞" in figure.data[0].text[2][2]
    assert "Infinity" not in figure.to_json() + charts.baselines(result, 0.25).to_json()


def test_an_unknown_measure_is_refused():
    with pytest.raises(ValueError, match="no measure 'bleu'"):
        charts.grid(approximated(), measure="bleu")


def test_baselines_stand_beside_the_rule():
    result = approximated(top=(0.125, 0.5, 0.25))
    lines = {trace.name: trace for trace in charts.baselines(result, 0.25).data}
    own = lines["low-rank scores in 25 %"]
    assert list(own.x) == [12.5, 25, 50]
    np.testing.assert_allclose(own.y, result.perplexity[1][[0, 2, 1]], rtol=1e-3)
    for name, way in (("exact scores", "exact"), ("most recent keys", "last"), ("random keys", "random")):
        np.testing.assert_allclose(lines[name].y, result.baseline_perplexity[way][[0, 2, 1]], rtol=1e-3)
    flat = {name: trace.y[0] for name, trace in lines.items() if trace.x[0] == 0}
    assert flat["dense: 20.00"] == 20
    assert flat[next(n for n in flat if "as attention" in n)] == pytest.approx(result.baseline_perplexity["pca"][1], rel=1e-3)
    looks = {(trace.line.color, trace.line.dash) for trace in lines.values()}
    assert len(looks) == len(lines) == 6


def test_without_baselines_the_rule_and_dense_are_left():
    names = [trace.name for trace in charts.baselines(approximated(baselines=False), 0.5).data]
    assert names == ["low-rank scores in 50 %", "dense: 20.00"]


def test_lines_by_layer_are_those_of_the_cell():
    result = approximated((0, 2, 5))
    figure = charts.by_layer(result, 0.25, 0.5)
    lines = {trace.name: trace for trace in figure.data}
    for name, values in (
        ("recall of the best keys", result.recall[:, 1, 0]),
        ("attention captured", result.mass[:, 1, 0]),
        ("attention on the best keys", result.mass_exact[:, 0]),
        ("relative error of the output", result.error[:, 1, 0]),
    ):
        np.testing.assert_allclose(lines[name].y, values, rtol=1e-3)
        assert list(lines[name].x) == [0, 2, 5]
    assert (np.array(lines["attention captured"].y) <= np.array(lines["attention on the best keys"].y) + 1e-9).all()
    assert len({(trace.line.color, trace.line.dash) for trace in lines.values()}) == 4


def test_an_error_above_one_is_not_cut_off():
    result = dataclasses.replace(approximated(), error=3 + approximated().error)
    assert charts.by_layer(result, 0.5, 0.5).layout.yaxis.range[1] > 3
