"""The chart of plans tried: kinds named and coloured right, savings of every kind, labels inside the picture."""

import json
import math

import pytest

from charts import style
from charts.deviation.tried import SAVED, tried
from tests.charts.fakes import axes, clickable


def row(plan: str, parameters: float, kl: float, perplexity: float = 20.0, **saved: float) -> dict:
    shares = dict.fromkeys(SAVED, parameters) | saved
    return {"plan": plan, "kl": kl, "perplexity": perplexity, "dense_perplexity": 10.0} | shares


ROWS = [row("a20", 0.99, 0.01), row("b1-2", 0.9, 0.5), row("m3", 0.95, 0.9), row("a1,m2", 0.95, 0.2)]


@pytest.mark.parametrize("by", SAVED)
@pytest.mark.parametrize("rows", [[], ROWS[:1], ROWS, [row("", 1.0, 0.0), row("b0-3", 0.0, 4.0, math.inf)]])
def test_tried_is_valid_whatever_was_tried(rows, by):
    figure = tried(rows, by)
    json.loads(figure.to_json())
    assert figure.layout.xaxis.title.text == f"{SAVED[by]} kept (%)" and all(axis.title.text for axis in axes(figure))
    assert figure.layout.yaxis.type == "log"
    assert sorted(str(plan) for plan, *_ in clickable(figure)) == sorted(row["plan"] for row in rows)
    assert all(y > 0 for trace in figure.data for y in trace.y)


def test_a_colour_per_kind_and_a_sentence_per_plan():
    figure = tried(ROWS)
    colours = {str(plan): trace.marker.color for plan, trace, _ in clickable(figure)}
    assert colours == {"a20": style.ATTENTION, "b1-2": style.BLOCK, "m3": style.MLP, "a1,m2": style.MUTED}
    text = next(trace.customdata[i][1] for plan, trace, i in clickable(figure) if str(plan) == "b1-2")
    assert "keeps 90.0 % of the parameters" in text and "KL 0.500 nats" in text and "2.00 times the dense" in text


def test_every_kind_of_plan_is_called_what_it_does():
    plans = ("", "w:wanda@0.5", "k:0.25/0.5", "a1,w:wanda@0.5", "w:wanda@0.5,k:0.25/0.5", "a1,m2")
    seen = {str(plan): trace for plan, trace, _ in clickable(tried([row(plan, 1.0, 0.6) for plan in plans]))}
    assert {plan: trace.name for plan, trace in seen.items()} == {
        "": "Dense",
        "w:wanda@0.5": "Prune weights only",
        "k:0.25/0.5": "Attend to fewer keys only",
        "a1,w:wanda@0.5": "Attention + prune weights",
        "w:wanda@0.5,k:0.25/0.5": "Prune weights + attend to fewer keys",
        "a1,m2": "Attention + MLP",
    }
    looks = {(trace.marker.color, trace.marker.symbol) for trace in seen.values()}
    assert len(looks) == 6
    assert not {seen["w:wanda@0.5"].marker.color, seen["k:0.25/0.5"].marker.color} & set(style.COLOUR.values())


def test_pruned_weights_win_where_what_they_save_is_counted():
    rows = [row("w:wanda@0.5", 1.0, 0.6, nonzero=0.6), row("b1-9", 0.7, 2.0)]

    def front(by):
        found = [trace for trace in tried(rows, by).data if trace.name == "best so far"]
        return list(found[0].x) if found else []

    assert front("parameters") == [100, 70] and front("nonzero") == []  # there no block can beat it
    places = {str(plan): trace.x[i] for plan, trace, i in clickable(tried(rows, "nonzero"))}
    assert places == {"w:wanda@0.5": 60, "b1-9": 70}
    text = next(trace.customdata[i][1] for plan, trace, i in clickable(tried(rows)) if str(plan) == "w:wanda@0.5")
    assert "keeps 60.0 % of the non-zero parameters<br>" in text


def test_the_front_leaves_out_what_is_beaten():
    front = next(trace for trace in tried(ROWS).data if trace.name == "best so far")
    assert list(front.x) == [99.0, 95.0, 90.0] and list(front.y) == [0.01, 0.2, 0.5]


def test_many_plans_are_labelled_on_the_front_only():
    rows = ROWS + [row(f"a{i}", 0.99, 0.02 + i / 100) for i in range(12)]
    labels = {text for trace in tried(rows).data for text in trace.text or () if text}
    assert labels == {"a20", "a1,m2", "b1-2"}


@pytest.mark.parametrize("shares", [(1.0,), (0.995, 0.5), (0.9, 0.99, 0.2, 1.0)])
def test_no_label_leaves_the_picture(shares):
    figure = tried([row(f"b{i}", share, 0.1 + i) for i, share in enumerate(shares)])
    low, high = figure.layout.xaxis.range
    assert low < 100 * min(shares) and high > 100
    for _, trace, i in clickable(figure):
        if trace.x[i] - low < 0.5 * (high - low):
            assert trace.textposition[i].endswith("right")
        else:
            assert trace.textposition[i].endswith("left")
