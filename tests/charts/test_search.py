"""The front of a search: valid, clickable, and only what nothing beats is on it."""

import json

import numpy as np
import pytest

from charts.search import search as charts
from plans.plan import EMPTY, parse
from probes.search.params import STRATEGIES
from probes.search.search import SearchResult
from probes.search.so_far import SoFar
from tests.charts.fakes import axes


def found(windows=3):
    """A result with two budgets; ``swaps`` is the best, ``similarity`` overshoots."""
    names = [name for name in STRATEGIES for _ in range(2)]
    shares = np.tile([0.125, 0.25], len(STRATEGIES))
    rng = np.random.default_rng(0)
    window_kl = rng.uniform(0.5, 1.0, (len(names), windows)) * (1 + shares[:, None])
    window_kl[[i for i, name in enumerate(names) if name == "swaps"]] = [[0.1] * windows, [0.2] * windows]
    kl = window_kl.mean(1)
    return SearchResult(
        unit="sublayers", total=16.0, base="", strategies=names, plans=[f"a{i}" for i in range(len(names))], shares=shares,
        saved=shares, chosen_kl=kl * 0.9, kl=kl, nll=kl + 3, top1=1 - kl / 10, kl_low=kl * 0.8, kl_high=kl * 1.2,
        window_kl=window_kl, continued_kl=np.empty((len(names), 0)), items=["a0"], single_kl=np.ones((1, 2)),
        spent=dict.fromkeys(STRATEGIES, 3.0), tried=20, chosen_windows=2, judged_windows=windows, length=16,
    )  # fmt: skip


def test_only_what_nothing_beats_is_on_the_front():
    result = found()
    assert {result.strategies[i] for i in np.flatnonzero(charts.on_front(result))} == {"swaps"}


@pytest.mark.parametrize("plan", [EMPTY, parse("a3"), parse("m9")])
def test_the_front_is_valid_labelled_and_clickable(plan):
    result = found()
    figure = charts.front(result, plan, "attention and MLP sublayers")
    drawn = json.loads(figure.to_json())
    assert "NaN" not in figure.to_json() and drawn["layout"]["uirevision"]
    assert all(axis.title.text for axis in axes(figure))
    items = [point[0] for trace in figure.data if trace.customdata is not None for point in trace.customdata]
    assert sorted(items) == sorted(result.plans)
    ringed = [trace for trace in figure.data if trace.name == "the plan"]
    assert len(ringed) == (str(plan) in result.plans)


def test_strategies_are_told_apart_without_colour():
    figure = charts.front(found(), EMPTY, "attention and MLP sublayers")
    looks = [(trace.marker.symbol, trace.line.dash, trace.mode) for trace in figure.data if trace.name in charts.NAME.values()]
    assert len({*looks}) == len(looks) == len(STRATEGIES)


def test_intervals_are_drawn_where_they_were_measured():
    result = found()
    figure = charts.front(result, EMPTY, "attention and MLP sublayers")
    (trace,) = [trace for trace in figure.data if trace.name == charts.NAME["swaps"]]
    np.testing.assert_allclose(trace.error_y.array, [0.02, 0.04], rtol=1e-3)


def test_what_is_known_so_far_is_drawn_and_clickable():
    shown = SoFar(
        ["a1", "a1,m2", "m3"], np.array([0.125, 0.25, 0.125]), np.array([0.1, 0.3, 0.4]), np.array([True, True, False]), 5
    )
    figure = charts.partial(shown, "attention and MLP sublayers")
    json.loads(figure.to_json())
    assert all(axis.title.text for axis in axes(figure))
    assert [[point[0] for point in trace.customdata] for trace in figure.data] == [["m3"], ["a1", "a1,m2"]]
