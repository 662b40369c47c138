"""Charts of tasks, on values that the probe itself puts together."""

import json

import numpy as np
import pytest

from charts.tasks import evaluate as charts
from probes.tasks.evaluate import compared
from tests.charts.fakes import axes


def side(right, score=0.5):
    """What the harness would find of a model that gets these items right; bits have no value for each item."""
    return {
        "name": "facts", "version": "1", "digests": [str(i) for i in range(len(right))],
        "metrics": {"acc": float(np.mean(right)), "bits": score}, "better": {"acc": True, "bits": False},
        "values": {"acc": list(map(float, right))},
    }  # fmt: skip


@pytest.fixture
def result(monkeypatch):
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.4.13")
    return compared([side([1] * 30 + [0] * 10)], [side([1] * 18 + [0] * 22, 0.75)])


def test_differences_are_drawn_with_their_interval(result):
    figure = charts.differences(result)
    json.loads(figure.to_json())
    assert all(axis.title.text for axis in axes(figure))
    [points] = figure.data
    metric = result.tasks[0]["metrics"][0]
    assert points.x == (-0.3,) and list(figure.layout.yaxis.ticktext) == ["facts, acc"]
    assert points.x[0] - points.error_x.arrayminus[0] == pytest.approx(metric["low"])
    assert points.x[0] + points.error_x.array[0] == pytest.approx(metric["high"])
    assert "0 won, 12 lost" in points.customdata[0][0] and "worse" in points.customdata[0][0]


def test_every_metric_is_a_row(result):
    acc, bits = charts.table(result)
    assert acc["verdict"] == "worse" and acc["McNemar p"] == pytest.approx(2 / 2**12)
    assert bits["verdict"] == "no value for each item" and bits["pruned"] == 0.75 and bits["difference"] is None


@pytest.mark.parametrize(
    ("metric", "says"),
    [
        ({"difference": 0.0, "low": 0.0, "high": 0.0, "p": 1.0, "better": True}, "no difference"),
        ({"difference": -0.1, "low": -0.2, "high": -0.01, "p": 0.2, "better": True}, "no significant difference"),
        ({"difference": -0.1, "low": -0.2, "high": -0.01, "better": False}, "better"),
        ({"difference": -0.1, "low": -0.2, "high": -0.01, "better": True}, "worse"),
        ({"difference": 0.1, "low": float("nan"), "high": float("nan"), "better": True}, "no significant difference"),
    ],
)
def test_verdicts(metric, says):
    assert charts.verdict(metric, 40) == says


def test_without_values_there_is_an_empty_chart(monkeypatch):
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.4.13")
    empty = side([1, 0]) | {"values": {}}
    assert not charts.differences(compared([empty], [empty])).data
