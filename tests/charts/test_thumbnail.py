"""A chart as a small picture."""

import json

import plotly.graph_objects as go
import pytest

from charts import thumbnail
from charts.keys import key_rank
from charts.redundancy import similarity
from plans.plan import EMPTY
from probes.tour.shipped import shipped


@pytest.mark.parametrize(
    "figure",
    [
        lambda: similarity.importance(shipped()["similarity"].result, EMPTY),
        lambda: key_rank.heads(shipped()["key_rank"].result, 0.9),
    ],
)
def test_a_small_chart_has_no_words_and_the_same_numbers(figure):
    large, small = figure(), thumbnail.small(figure())
    assert small.layout.height == thumbnail.HEIGHT and not small.layout.showlegend and not small.layout.annotations
    assert not any(axis.title.text for axis in small.select_yaxes())
    assert [trace.type for trace in small.data] == [trace.type for trace in large.data]
    assert not any(trace.hovertemplate for trace in small.data)
    json.loads(small.to_json())


def test_names_at_points_go_and_a_trace_of_names_shows_nothing():
    figure = go.Figure([go.Scatter(x=[1], y=[1], mode="markers+text", text=["a"]), go.Scatter(x=[1], y=[1], mode="text")])
    assert [trace.mode for trace in thumbnail.small(figure).data] == ["markers", "none"]
