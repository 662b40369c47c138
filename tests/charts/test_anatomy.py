"""Sizes by layer: right counts, clickable, dropped parts hatched."""

import json

import pytest

from charts import anatomy, style
from plans.drops import Drops
from plans.plan import Plan, parse
from tests.charts.fakes import axes, clickable


def rows(layers: int) -> list[dict]:
    return [{"layer": i, "attention": 884_736, "mlp": 2_654_208 + i, "norms": 1_152} for i in range(layers)]


@pytest.mark.parametrize("layers", [1, 5, 80])
def test_sizes_are_valid_labelled_and_clickable(layers):
    for plan in (None, Plan(), Plan((Drops(blocks=frozenset(range(layers))),))):
        figure = anatomy.sizes(rows(layers), plan)
        json.loads(figure.to_json())
        assert all(axis.title.text for axis in axes(figure))
        assert layers / figure.layout.xaxis.dtick <= 16
        items = [str(item) for item, *_ in clickable(figure)]
        assert items == [f"{letter}{i}" for letter in "amb" for i in range(layers)]


def test_bars_are_stacked_and_counted():
    figure = anatomy.sizes(rows(5))
    assert figure.layout.barmode == "stack"
    assert list(figure.data[1].y) == [2_654_208 + i for i in range(5)]
    assert [trace.marker.color for trace in figure.data] == [style.ATTENTION, style.MLP, style.MUTED]
    assert "885 thousand parameters" in figure.data[0].customdata[3][1]


def test_what_is_dropped_is_hatched():
    figure = anatomy.sizes(rows(5), parse("a2,m3,b0"))
    hatched = [{i for i, shape in enumerate(trace.marker.pattern.shape) if shape} for trace in figure.data[:3]]
    assert hatched == [{0, 2}, {0, 3}, {0}]


def test_parts_that_are_nowhere_are_left_out():
    bare = [{"layer": 0, "attention": 10, "mlp": 20}]
    assert [trace.name for trace in anatomy.sizes(bare).data] == ["Attention", "MLP"]
