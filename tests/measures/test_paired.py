"""Paired tests: closed forms, and a slow enumeration."""

from itertools import product

import numpy as np
import pytest

from measures.significance.paired import mcnemar


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"), [(0, 0, 1.0), (3, 3, 1.0), (5, 0, 2 / 32), (0, 6, 2 / 64), (1, 4, 12 / 32)]
)
def test_discordant_items_are_counted_as_coins(only_first, only_second, p):
    both = np.ones(7, dtype=bool)
    first = np.concatenate([both, np.ones(only_first, dtype=bool), np.zeros(only_second, dtype=bool)])
    second = np.concatenate([both, np.zeros(only_first, dtype=bool), np.ones(only_second, dtype=bool)])
    assert mcnemar(first, second) == pytest.approx(p, rel=1e-12)


def test_it_is_the_share_of_coin_sequences_that_are_as_uneven():
    heads = np.array([sum(flips) for flips in product((0, 1), repeat=9)])
    for only_first in range(10):
        first = np.arange(9) < only_first
        slow = np.mean(np.abs(heads - 4.5) >= abs(only_first - 4.5))
        assert mcnemar(first, ~first) == pytest.approx(slow, rel=1e-12)
