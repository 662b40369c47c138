"""Bradley–Terry against its closed form, a direct maximum of the likelihood, and what it must not do."""

import numpy as np
import pytest
from scipy.optimize import minimize

from measures.significance.ratings import bradley_terry


def test_two_models_have_a_closed_form():
    """σ(θ) is the share of wins, with the one tie that each pair is given."""
    strength = bradley_terry(np.array([[0, 3], [9, 0]]))
    assert strength == pytest.approx([0, np.log(9.5 / 3.5)])


def test_it_is_the_maximum_of_the_likelihood():
    wins = np.random.default_rng(0).integers(0, 9, (4, 4)) * (1 - np.eye(4))

    def loss(rest):
        theta = np.r_[0, rest]
        return ((wins + 0.5 * (1 - np.eye(4))) * np.log1p(np.exp(theta[None] - theta[:, None]))).sum()

    assert bradley_terry(wins)[1:] == pytest.approx(minimize(loss, np.zeros(3), tol=1e-10).x, abs=1e-4)


def test_many_tables_at_once_are_as_one_by_one():
    tables = np.random.default_rng(1).integers(0, 9, (5, 3, 3)) * (1 - np.eye(3))
    np.testing.assert_allclose(bradley_terry(tables), [bradley_terry(each) for each in tables], rtol=1e-9)


def test_whom_nobody_compared_has_none():
    strength = bradley_terry(np.array([[0, 4, 0], [2, 0, 0], [0, 0, 0]]))
    assert np.isfinite(strength[:2]).all() and np.isnan(strength[2])


def test_who_never_lost_is_finite():
    assert np.isfinite(bradley_terry(np.array([[0, 0], [50, 0]]))).all()


def test_what_nothing_links_to_the_first_has_none():
    """Two pairs that never met each other: between them nothing can be said."""
    wins = np.zeros((5, 5))
    wins[0, 1], wins[2, 3], wins[3, 2] = 3, 4, 1
    strength = bradley_terry(wins)
    assert np.isfinite(strength[:2]).all() and np.isnan(strength[2:]).all()
    wins[3, 4] = 2
    wins[4, 1] = 1  # now by way of 4 and 1
    assert np.isfinite(bradley_terry(wins)).all()


def test_one_sided_chains_come_to_their_end():
    """Each of five always beats the next: strengths are the sums of the steps, each ln((n + ½) / ½)."""
    wins = np.diag(np.full(4, 30.0), 1)
    assert bradley_terry(wins) == pytest.approx(-np.log(30.5 / 0.5) * np.arange(5), rel=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_likelier_however_uneven_the_votes_are(seed):
    """At the maximum every model wins as often as its strength foretells."""
    dice = np.random.default_rng(seed)
    wins = np.triu(dice.integers(0, 300, (5, 5)) * (dice.random((5, 5)) < 0.7), 1)
    wins[0, 1:] += 1
    theta, games = bradley_terry(wins), wins + wins.T + (wins + wins.T > 0)
    foretold = (games / (1 + np.exp(theta[None] - theta[:, None]))).sum(1)
    np.testing.assert_allclose(foretold, (wins + 0.5 * (wins + wins.T > 0)).sum(1), rtol=1e-7)
