"""Charts of the fidelity probe: where it hurts, and what was tried."""

import json
import math

import numpy as np
import pytest

from charts import style
from charts.deviation import fidelity
from tests.charts.fakes import axes, clickable, faithful

PIECES = [[f" w{i}" for i in range(40)], ["<s>", *(f" x{i}" for i in range(1, 40))]]


def row(plan: str, parameters: float, kl: float, perplexity: float = 20.0) -> dict:
    return {"plan": plan, "parameters": parameters, "kl": kl, "perplexity": perplexity, "dense_perplexity": 10.0}


ROWS = [row("a20", 0.99, 0.01), row("b1-2", 0.9, 0.5), row("m3", 0.95, 0.9), row("a1,m2", 0.95, 0.2)]


@pytest.mark.parametrize("pieces", [PIECES, None])
def test_damage_is_one_bar_per_predicted_token(pieces):
    result = faithful()
    figure = fidelity.damage(result, pieces, 1)
    json.loads(figure.to_json())
    assert all(axis.title.text for axis in axes(figure))
    bars = figure.data[0]
    assert list(bars.x) == list(range(1, 40))
    np.testing.assert_allclose(bars.y, result.token_kl[1], rtol=1e-3)
    text = bars.customdata[11][0]
    assert f"dense {style.number(result.dense_token_nll[1, 11])} nats" in text
    assert f"pruned {style.number(result.token_nll[1, 11])} nats" in text
    if pieces:
        assert "Token 12: … x4 x5 x6 x7 x8 x9 x10 x11<b> x12</b>" in text


def test_the_worst_token_is_named_and_markup_is_not():
    result = faithful()
    worst = int(result.token_kl[1].argmax()) + 1
    pieces = [PIECES[0], [*PIECES[1]]]
    pieces[1][worst] = "<i>"
    notes = fidelity.damage(result, pieces, 1).layout.annotations
    assert notes[0].text == "&lt;i&gt;" and notes[0].x == worst
    assert not fidelity.damage(result, None, 1).layout.annotations


def test_the_mean_is_drawn_and_told():
    mean = float(faithful().token_kl[0].mean())
    line = fidelity.damage(faithful(), None, 0).data[1]
    assert line.y[0] == pytest.approx(mean) and style.number(mean) in line.name


def test_a_window_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="no window 2; the result has windows 0 to 1"):
        fidelity.damage(faithful(), PIECES, 2)
    with pytest.raises(ValueError, match="has 40 tokens, but texts of 39"):
        fidelity.damage(faithful(), [PIECES[0][1:]], 0)


@pytest.mark.parametrize("rows", [[], ROWS[:1], ROWS, [row("", 1.0, 0.0), row("b0-3", 0.0, 4.0, math.inf)]])
def test_tried_is_valid_whatever_was_tried(rows):
    figure = fidelity.tried(rows)
    json.loads(figure.to_json())
    assert all(axis.title.text for axis in axes(figure))
    assert figure.layout.yaxis.type == "log"
    assert sorted(str(plan) for plan, *_ in clickable(figure)) == sorted(row["plan"] for row in rows)
    assert all(y > 0 for trace in figure.data for y in trace.y)


def test_tried_has_a_colour_per_kind_and_a_sentence_per_plan():
    figure = fidelity.tried(ROWS)
    colours = {str(plan): trace.marker.color for plan, trace, _ in clickable(figure)}
    assert colours == {"a20": style.ATTENTION, "b1-2": style.BLOCK, "m3": style.MLP, "a1,m2": style.MUTED}
    text = next(trace.customdata[i][1] for plan, trace, i in clickable(figure) if str(plan) == "b1-2")
    assert "keeps 90.0 % of the parameters" in text and "KL 0.500 nats" in text and "2.00 times the dense" in text


def test_a_plan_that_drops_nothing_has_a_colour_of_its_own():
    rows = [row("w:wanda@0.5", 1.0, 0.6), row("k:0.25/0.5", 1.0, 0.2), row("a1,w:wanda@0.5", 0.97, 0.7)]
    names = {str(plan): trace.name for plan, trace, _ in clickable(fidelity.tried(rows))}
    assert names == {
        "w:wanda@0.5": "Prune weights only", "k:0.25/0.5": "Attend to few keys only", "a1,w:wanda@0.5": "mixed"
    }  # fmt: skip


def test_the_front_leaves_out_what_is_beaten():
    front = next(trace for trace in fidelity.tried(ROWS).data if trace.name == "best so far")
    assert list(front.x) == [99.0, 95.0, 90.0] and list(front.y) == [0.01, 0.2, 0.5]


def test_many_plans_are_labelled_on_the_front_only():
    rows = ROWS + [row(f"a{i}", 0.99, 0.02 + i / 100) for i in range(12)]
    labels = {text for trace in fidelity.tried(rows).data for text in trace.text or () if text}
    assert labels == {"a20", "a1,m2", "b1-2"}
