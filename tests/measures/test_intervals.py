"""The bootstrap against what is known of means, and its corner cases."""

import numpy as np
import pytest

from measures.significance.intervals import bootstrap


def test_the_mean_of_many_has_the_interval_of_the_normal_distribution():
    values = np.random.default_rng(0).normal(3.0, 2.0, size=400)
    low, high = bootstrap(values, resamples=4000)
    middle, half = values.mean(), 1.96 * values.std() / 20
    assert low == pytest.approx(middle - half, abs=0.03) and high == pytest.approx(middle + half, abs=0.03)


def test_it_holds_the_truth_about_as_often_as_it_says():
    """The number in its notes, over 500 sets of ten samples."""
    dice = np.random.default_rng(1)
    held = 0
    for seed in range(500):
        low, high = bootstrap(dice.normal(1.0, 1.0, size=10), resamples=500, seed=seed)
        held += low <= 1.0 <= high
    assert 0.87 < held / 500 < 0.95


def test_columns_are_drawn_together_and_keep_their_shape():
    values = np.random.default_rng(2).normal(size=(12, 3, 2))
    low, high = bootstrap(values)
    assert low.shape == high.shape == (3, 2) and (low < values.mean(0)).all() and (high > values.mean(0)).all()
    one, other = (bootstrap(np.stack([values[:, 0, 0], 2 * values[:, 0, 0]], 1))[i] for i in (0, 1))
    assert one[1] == pytest.approx(2 * one[0]) and other[1] == pytest.approx(2 * other[0])


def test_any_statistic_with_an_axis_will_do():
    values = np.arange(101.0)
    low, high = bootstrap(values, np.median)
    assert 30 < low < 50 < high < 70


def test_the_seed_decides_and_the_level_widens():
    values = np.random.default_rng(3).normal(size=20)
    assert bootstrap(values, seed=4) == bootstrap(values, seed=4)
    assert bootstrap(values, seed=4) != bootstrap(values, seed=5)
    (low, high), (lower, higher) = bootstrap(values, level=0.5), bootstrap(values, level=0.99)
    assert lower < low < high < higher


def test_equal_values_have_no_width_and_one_value_has_no_interval():
    assert bootstrap(np.full(5, 2.5)) == (2.5, 2.5)
    assert all(np.isnan(each) for each in bootstrap(np.array([1.0])))
    ratio = [float(each) for each in bootstrap(np.array([[1.0, 2.0]]), lambda sums, axis: sums.sum(axis)[..., 0])]
    assert np.isnan(ratio).all(), "of the statistic's shape and not of the samples'"


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
def test_a_level_that_is_none_is_refused(level):
    with pytest.raises(ValueError, match="between 0 and 1"):
        bootstrap(np.arange(3.0), level=level)


def test_many_samples_are_drawn_a_part_at_a_time_and_the_numbers_stay(monkeypatch):
    values = np.random.default_rng(0).normal(size=(50, 3))
    whole = bootstrap(values, resamples=300)
    monkeypatch.setattr("measures.significance.intervals._VALUES", 1000)
    np.testing.assert_array_equal(bootstrap(values, resamples=300), whole)
