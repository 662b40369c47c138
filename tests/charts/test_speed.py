"""Charts of the speed probe, on times that are drawn and then compared as the probe does."""

import json
from dataclasses import replace

import numpy as np
import pytest

from charts.speed import speed as charts
from probes.speed.machine import Circumstances
from probes.speed.pace import SAME, pace
from probes.speed.speed import Memory, SpeedResult
from tests.charts.fakes import axes, clickable

WHERE = Circumstances("cpu", "A CPU", "float32", "sdpa", 2, 2, 0.1, 0.4, 0.05, 0, True, "measured on an otherwise idle machine")
WEIGHED = Memory("resident set of the whole process", 500_000_000, 560_000_000, 500_000_000, 540_000_000,
                 270_000_000, 250_000_000, 30_000_000, 20_000_000, 30_000_000, 20_000_000)  # fmt: skip


def fast(times: float, seed: int = 0, batch: int = 1) -> SpeedResult:
    """What the probe would say of a plan that is so many times as fast."""
    dice = np.random.default_rng(seed)
    dense = dice.lognormal(-2, 0.02, size=(2, 10))
    pruned = dense / times * dice.lognormal(0, 0.02, size=(2, 10))
    prefill, decode = (pace(a, b, count) for a, b, count in zip(dense, pruned, (128 * batch, batch), strict=True))
    return SpeedResult(batch, 128, 32, 10, prefill, decode, WEIGHED, WHERE)


@pytest.mark.parametrize("batch", [1, 4])
def test_rounds_draws_every_time_and_the_median(batch):
    result = fast(1.5, batch=batch)
    figure = charts.rounds(result)
    json.loads(figure.to_json())
    assert all(axis.title.text for axis in axes(figure))
    points, middle = figure.data[6], figure.data[7]  # of the pruned model's decode
    assert list(points.x) == pytest.approx([1e3 * each for each in result.decode.seconds]) and set(points.y) == {"pruned"}
    assert middle.x[1] == pytest.approx(1e3 * result.decode.pruned) and middle.marker.size[1] == 12
    assert ("4 prompts" in figure.layout.xaxis.title.text) is (batch == 4)


def test_ratios_have_their_interval_and_their_plan():
    results = {"a3": fast(1.3), "b1-2": fast(1.0, 1), "": fast(1.0, 2)}
    figure = charts.ratios(results)
    json.loads(figure.to_json())
    assert all(axis.title.text for axis in axes(figure))
    assert {str(plan) for plan, *_ in clickable(figure)} == set(results)
    decode = next(trace for trace in figure.data if trace.name == "Decode")
    for i, result in enumerate(results.values()):
        found = result.decode
        assert decode.x[i] - decode.error_x.arrayminus[i] == pytest.approx(found.ratio_low, abs=1e-3)
        assert decode.x[i] + decode.error_x.array[i] == pytest.approx(found.ratio_high, abs=1e-3)
    assert "times as fast" in decode.customdata[0][1] and list(figure.layout.yaxis.ticktext) == ["a3", "b1-2", "dense"]


def test_what_was_measured_beside_other_work_is_open_and_says_so():
    busy = replace(WHERE, quiet=False, others=1, says="measured while 1 other job ran")
    figure = charts.ratios({"a3": fast(1.3), "b1": replace(fast(1.0, 1), circumstances=busy)})
    decode = next(trace for trace in figure.data if trace.name == "Decode")
    assert decode.marker.symbol == ("square", "square-open")
    assert ["other job" in row[1] for row in decode.customdata] == [False, True]
    assert "measured while other work ran" in {trace.name for trace in figure.data}
    assert "measured while other work ran" not in {trace.name for trace in charts.ratios({"a3": fast(1.3)}).data}


def test_no_difference_is_told_in_the_chart_and_in_the_table():
    results = {"m1": fast(1.0, 3)}
    assert results["m1"].decode.says == SAME
    assert SAME in charts.ratios(results).data[1].customdata[0][1]
    (row,) = charts.table(results)
    assert row["decode, verdict"] == SAME and row["measured"] == "measured on an otherwise idle machine"
    assert row["decode, ms"] == pytest.approx(1e3 * results["m1"].decode.pruned) and row["KV cache, MB"] == 20.0


def test_memory_adds_up_to_what_was_measured():
    figure = charts.memory(WEIGHED)
    json.loads(figure.to_json())
    assert all(axis.title.text for axis in axes(figure))
    bars = {trace.name: list(trace.x) for trace in figure.data}
    assert bars["weights"] == [270.0, 250.0] and bars["KV cache"] == [30.0, 20.0]
    assert bars["other memory at the peak"] == [30.0, 20.0]
    smaller = charts.memory(replace(WEIGHED, peak=510_000_000))
    assert smaller.data[2].x[1] == 0.0  # the cache found room that was there already
