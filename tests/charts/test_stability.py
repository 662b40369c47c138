"""The chart of what each variant of the calibration chose."""

import json

import numpy as np

from charts.search import stability as charts
from probes.search.stability import StabilityResult
from tests.charts.fakes import axes, clickable


def found():
    """Three variants: the second shares one of two drops with the first, the third is the same."""
    return StabilityResult(
        layers=6, variants=["this text", "with BOS", "another"], plans=["a1,m4", "a1,m2", "a1,m4"],
        overlap=np.array([[1, 1 / 3, 1], [1 / 3, 1, 1 / 3], [1, 1 / 3, 1]]), mean_overlap=5 / 9, chance_overlap=0.1,
        kl=np.array([0.1, 0.3, 0.1]), kl_low=np.array([0.08, 0.2, 0.08]), kl_high=np.array([0.12, 0.4, 0.12]),
        differs=[False, True, False], window_kl=np.array([[0.08, 0.12], [0.2, 0.4], [0.08, 0.12]]), missing={},
    )  # fmt: skip


def test_every_drop_is_a_point_that_can_be_clicked():
    figure = charts.chosen(found())
    json.loads(figure.to_json())
    assert all(axis.title.text for axis in axes(figure)) and list(figure.layout.yaxis.ticktext) == found().variants
    assert {str(item) for item, *_ in clickable(figure)} == {"a1", "m4", "m2"}
    attention, mlp = figure.data
    assert list(attention.x) == [1, 1, 1] and list(mlp.x) == [4, 2, 4]
    assert "chosen by 3 of 3" in attention.customdata[0][1] and "chosen by 1 of 3" in mlp.customdata[1][1]
    assert mlp.marker.color[0] == mlp.marker.color[2] != mlp.marker.color[1], "pale where the first one keeps it"


def test_rows_say_what_differs():
    rows = charts.table(found())
    assert [row["against the first"] for row in rows] == ["", "differs", "no significant difference"]
    assert rows[1]["in common"] == 1 / 3 and rows[1]["KL"] == 0.3
