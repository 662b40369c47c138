"""Ranks, effective dimensions and overlaps in closed form."""

import numpy as np
import pytest
import torch

from measures.spectra import effective_rank, participation_ratio, rank_at, ratios, subspace_overlap

CLOSED = [0.5, 0.3, 0.15, 0.05]


def shares(*values):
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(
    ("values", "level", "rank"),
    [
        (CLOSED, 0.9, 3), (CLOSED, 0.8, 2), (CLOSED, 0.81, 3), (CLOSED, 0.95, 3), (CLOSED, 0.99, 4), (CLOSED, 1.0, 4),
        ([0.91, 0.05, 0.03, 0.01], 0.9, 1), ([1.0, 0.0, 0.0, 0.0], 1.0, 1), ([0.0] * 4, 0.9, 0), ([0.1] * 10, 0.8, 8),
        ([0.1] * 10, 1.0, 10), ([0.5, 0.4999999], 1.0, 2),
    ],
)  # fmt: skip
def test_the_rank_is_the_number_of_dimensions(values, level, rank):
    assert rank_at(shares(*values), level).item() == rank


@pytest.mark.parametrize("width", [3, 7, 64, 128, 1000])
def test_a_sum_that_ends_a_little_below_one_still_reaches_it(width):
    assert rank_at(torch.full((width,), 1 / width, dtype=torch.float64), 1.0).item() == width


def test_ratios_of_the_known_keys():
    found = ratios(shares(2.679935, 0.921587, 0.583047, 0.171396))
    np.testing.assert_allclose(found.cumsum(0), [0.615233, 0.826802, 0.960653, 1], atol=1e-6)
    assert rank_at(found, 0.9).item() == 3


def test_effective_dimensions():
    even, one, none = torch.full((8,), 0.125).double(), shares(1, 0, 0, 0), shares(0, 0, 0, 0)
    for measure in (effective_rank, participation_ratio):
        assert measure(even).item() == pytest.approx(8)
        assert measure(one).item() == 1 and measure(none).item() == 0
    assert effective_rank(shares(*CLOSED)).item() == pytest.approx(np.exp(-sum(p * np.log(p) for p in CLOSED)))
    assert participation_ratio(shares(*CLOSED)).item() == pytest.approx(1 / sum(p * p for p in CLOSED))


def test_overlap_is_the_mean_squared_cosine_of_principal_angles():
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.linalg.qr(torch.randn(5, 6, 6, generator=generator).double()).Q for _ in range(2))
    rank = torch.tensor([1, 2, 3, 6, 0])
    found = subspace_overlap(one, other, rank)
    for head in range(3):
        r = int(rank[head])
        cosines = np.linalg.svd(one[head, :r].numpy() @ other[head, :r].numpy().T, compute_uv=False)
        assert found[head].item() == pytest.approx((cosines**2).mean())
    assert found[3].item() == pytest.approx(1) and found[4].item() == 1  # the whole space, and nothing
    assert subspace_overlap(one, one, rank).tolist() == pytest.approx([1] * 5)


def test_random_subspaces_overlap_by_chance():
    generator = torch.Generator().manual_seed(1)
    one, other = (torch.linalg.qr(torch.randn(400, 16, 16, generator=generator).double()).Q for _ in range(2))
    assert subspace_overlap(one, other, torch.full((400,), 4)).mean().item() == pytest.approx(4 / 16, abs=0.01)
