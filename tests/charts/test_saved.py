"""What is saved of a chart is what it shows, and every chart says in a sentence what it shows."""

import csv
import io
import re
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest

from charts import anatomy, saved, style
from charts.choice import choice_subspace
from charts.colours import between, contrast
from charts.deviation import fidelity, generation_drift, transitions, tried
from charts.keys import key_rank, low_rank_attention, spectra
from charts.redundancy import similarity
from charts.scan import drop_scan
from plans.plan import Plan, parse
from tests.charts.fakes import faithful, similar
from tests.charts.fakes_deviation import chosen, drifted, moved
from tests.charts.fakes_key_rank import approximated, ranked
from tests.charts.fakes_scan import scanned

PAGES = Path(__file__).parents[2] / "pages"
PLAN = parse("a1")
TRIED = [{"plan": plan, "parameters": share, "kl": kl, "perplexity": 20.0, "dense_perplexity": 18.0}
         for plan, share, kl in (("", 1.0, 0.0), ("a1", 0.97, 0.02), ("b2", 0.9, 0.3))]  # fmt: skip


def figures(layers: int) -> dict[str, go.Figure]:
    near, ranks, scan, grid = similar(layers), ranked(layers), scanned(layers), approximated()
    return {
        "sizes": anatomy.sizes([{"layer": i, "attention": 1000, "mlp": 3000, "norms": 8} for i in range(layers)], PLAN),
        "importance": similarity.importance(near, PLAN),
        "states": similarity.states(near, PLAN),
        "spans": similarity.spans(near, PLAN),
        "span curve": similarity.span_curve(near),
        "contributions": similarity.contributions(near),
        "scan": drop_scan.damage(scan, PLAN),
        "scan, agreement": drop_scan.damage(scan, PLAN, "agreement"),
        "skips": drop_scan.skips(scan, Plan()),
        "heads": key_rank.heads(ranks, 0.9, (1, 0)),
        "layers": key_rank.layers(ranks, 0.9),
        "spectrum": spectra.spectrum(ranks, 0, 0, 0.9),
        "overlap": spectra.overlap(ranks),
        "grid": low_rank_attention.grid(grid, (0.5, 0.5)),
        "baselines": low_rank_attention.baselines(grid, 0.5),
        "by layer": low_rank_attention.by_layer(grid, 0.5, 0.25),
        "depth": transitions.depth({"a1": moved(layers)}),
        "alone": transitions.alone({"a1": moved(layers)}),
        "steps": generation_drift.steps({"a1": drifted()}),
        "alternatives": generation_drift.alternatives(drifted(), 0, 1),
        "subspaces": choice_subspace.subspaces({"a1": chosen()}),
        "items": choice_subspace.each_item({"a1": chosen()}),
        "damage": fidelity.damage(faithful(), None, 0),
        "tried": tried.tried(TRIED),
    }


@pytest.mark.parametrize("layers", [4, 126])
def test_every_chart_says_what_it_shows_in_one_short_sentence(layers):
    for name, figure in figures(layers).items():
        said = style.finding(figure)
        assert said and len(said) < 160 and "nan" not in said and "<" not in said, (name, said)
        assert re.search(r"\d|‘|No ", said), f"{name} finds nothing in its data: {said}"


def test_a_finding_follows_the_data():
    result = similar(5)
    scores = {(kind, i): 1 - value for kind in similarity.KINDS for i, value in enumerate(getattr(result, kind))}
    kind, layer = min(scores, key=scores.get)
    said = style.finding(similarity.importance(result, Plan()))
    assert said == f"{style.part(kind, layer)} changes the stream least: 1 − cosine {style.number(scores[kind, layer])}"
    assert style.finding(tried.tried(TRIED)) == "Lowest KL so far: a1, 0.0200 nats per token with 97.0 % of the parameters"
    assert style.finding(tried.tried(TRIED[:1])) == "", "the dense model is no plan that was tried"
    kl = np.array([0.0, 1.0, 9.0, 0.0])
    assert fidelity._concentrated(kl) == "Half of the window’s KL is in 1 of its 4 tokens"


def test_the_numbers_of_a_chart_are_its_data():
    for name, figure in figures(5).items():
        read = list(csv.DictReader(io.StringIO(saved.csv(figure))))
        assert len(read) == len(saved.rows(figure)) > 0, name
        assert {row["series"] for row in read} >= {trace.name for trace in figure.data if _counts(trace)}, name
    figure = similarity.importance(similar(5), Plan())
    bars = [trace for trace in figure.data if trace.type == "bar"]
    for trace in bars:
        mine = [row for row in saved.rows(figure) if row["series"] == trace.name]
        assert [row["y"] for row in mine] == list(trace.y) and [row["x"] for row in mine] == list(trace.x)
        assert mine[0]["y axis"] == "1 − cosine" and mine[0]["x axis"] == "layer"
        assert "importance" in mine[0]["note"] and "<" not in mine[0]["note"] and "click" not in mine[0]["note"]


def _counts(trace) -> bool:
    return trace.type == "bar" and trace.customdata is not None


def test_the_cells_of_a_map_are_its_values():
    figure = similarity.spans(similar(5), Plan(), rowwise=False)
    heat = figure.data[0]
    cells = {(row["x"], row["y"]): row["value"] for row in saved.rows(figure) if "value" in row}
    assert cells == {(x, y): value for y, row in enumerate(heat.z, 1) for x, value in enumerate(row) if value is not None}


def test_ends_of_error_bars_are_values():
    figure = go.Figure(go.Scatter(x=[1.0], y=[2.0], error_x={"type": "data", "array": [0.5], "arrayminus": [0.25]}))
    (row,) = saved.rows(style.frame(figure, 200, "x"))
    assert (row["low"], row["high"]) == (0.75, 1.5)
    assert saved.csv(go.Figure()) == ""


def test_a_saved_chart_draws_alone_and_says_what_it_shows():
    figure = similarity.importance(similar(5), Plan())
    text = saved.document(figure, "Importance <per> layer")
    assert "Plotly.newPlot(" in text and "<title>Importance &lt;per&gt; layer</title>" in text
    assert f"<p>{style.finding(figure)}</p>" in text


@pytest.mark.parametrize("name", ["heads", "grid"])
def test_digits_can_be_read_on_every_cell(name):
    figure = figures(5)[name]
    heat = next(trace for trace in figure.data if trace.type == "heatmap")
    digits = next(trace for trace in figure.data if getattr(trace, "mode", "") == "text")
    assert len(digits.text) == sum(len(row) for row in heat.z)
    for x, y, colour in zip(digits.x, digits.y, digits.textfont.color, strict=True):
        place = (heat.z[y][x] - heat.zmin) / (heat.zmax - heat.zmin)
        assert contrast(colour, between(style.NEAR_TO_FAR, place)) >= 4.5


def test_digits_are_left_out_where_cells_are_small():
    assert not any(getattr(trace, "text", None) for trace in figures(126)["heads"].data)


def test_there_is_one_way_to_a_chart():
    calls = {path.name: path.read_text().count(".plotly_chart(") for path in PAGES.rglob("*.py")}
    assert {name: count for name, count in calls.items() if count} == {"skeleton.py": 2}  # to look at, and to work with
