"""Pareto fronts: what nobody beats, ties included, against a slow loop."""

import math

import numpy as np

from measures.fronts import pareto_front


def test_the_front_holds_what_nobody_beats():
    cost, perplexity = np.array([[1.0, 2.0], [3.0, 0.5]]), np.array([[2.0, 3.0], [2.0, 4.0]])
    assert np.argwhere(pareto_front(cost, perplexity)).tolist() == [[0, 0], [1, 1]]


def test_equal_candidates_do_not_beat_each_other():
    assert pareto_front(np.ones((1, 2)), np.ones((1, 2))).tolist() == [[True, True]]


def test_nan_is_never_on_the_front_and_infinity_may_be():
    assert pareto_front(np.array([1.0, 2.0, 0.0]), np.array([math.nan, 1.0, math.inf])).tolist() == [False, True, True]


def test_no_candidates_have_no_front():
    assert pareto_front(np.array([]), np.array([])).tolist() == []


def test_three_costs_agree_with_a_slow_loop():
    points = np.random.default_rng(0).integers(0, 5, (3, 60))
    for place, kept in enumerate(pareto_front(*points)):
        one = points[:, place]
        beaten = any(all(other <= one) and any(other < one) for other in points.T)
        assert kept == (not beaten)
