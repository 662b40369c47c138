"""How keys are chosen, as functions: a worked example in float64, exact counts, and what the mean of the keys changes."""

import torch

from plans.keys.choice import (
    KeyChoice,
    best,
    components,
    exact_scores,
    key_counts,
    low_rank_scores,
    most_keys,
    narrowed,
    projected,
    visible,
)
from plans.keys.shares import LowRank

SCALES = torch.tensor([2, 1.5, 1, 0.5], dtype=torch.float64)
PLACES = torch.arange(1, 7, dtype=torch.float64)[:, None] * torch.arange(1, 5)
KEYS = (SCALES * (0.7 * PLACES).sin() + torch.tensor([1, 0, 0, 0]))[None, None]
QUERY = torch.tensor([0.9, 0.8, -1.2, 1.5], dtype=torch.float64)[None, None, None]
VALUES = torch.tensor([[i + 1, (-1) ** i] for i in range(6)], dtype=torch.float64)[None, None]


def attend(query, key, value, mask):
    weights = (exact_scores(query, key) + (0 if mask is None else mask)).softmax(-1)
    return weights @ value, weights


def covariance_basis(keys):
    """Rows by falling eigenvalue of the centred covariance."""
    return torch.linalg.eigh(torch.cov(keys.T))[1].flip(-1).T


def test_the_published_rule_on_six_keys():
    """A worked example in float64; every number was computed by other code."""
    basis = covariance_basis(KEYS[0, 0])[None]
    near = {"atol": 1e-6, "rtol": 0}

    def numbers(*values):
        return torch.tensor(values, dtype=torch.float64)

    exact = exact_scores(QUERY, KEYS)
    torch.testing.assert_close(exact.flatten(), numbers(1.228761, 1.824118, 1.014329, -0.507222, 1.427782, -0.174670), **near)
    first, second = (low_rank_scores(QUERY, KEYS, basis, rank) for rank in (1, 2))
    torch.testing.assert_close(first.flatten(), numbers(0.167509, 0.296264, 0.415456, 0.271738, -0.046215, -0.182689), **near)
    torch.testing.assert_close(second.flatten(), numbers(1.898087, 2.012323, 0.763062, 0.161276, 0.919613, 0.273708), **near)
    seen, counts = visible(None, QUERY, KEYS), torch.full((1, 1, 1, 1), 3)
    chosen, ideal = (best(scores, seen, counts, 3) for scores in (first, exact))
    assert chosen.flatten().nonzero().flatten().tolist() == [1, 2, 3]
    assert ideal.flatten().nonzero().flatten().tolist() == [0, 1, 4]
    dense = exact.softmax(-1)
    torch.testing.assert_close((dense * chosen).sum(), numbers(0.531442)[0], **near)
    torch.testing.assert_close((dense * ideal).sum(), numbers(0.766481)[0], **near)
    outputs = {
        "loki": numbers(2.414549, -0.422934), "exact": numbers(2.659568, 0.100779), "pca": numbers(3.281625, 0.022704)
    }  # fmt: skip
    for method, expected in outputs.items():
        output, _ = KeyChoice(LowRank(0.25, 0.5), method, basis)(attend, QUERY, KEYS, VALUES, None)
        torch.testing.assert_close(output.flatten(), expected, **near)
    torch.testing.assert_close(attend(QUERY, KEYS, VALUES, None)[0].flatten(), numbers(2.912637, 0.150403), **near)


def test_the_mean_of_the_keys_changes_nothing():
    """It shifts all scores of a row alike, so the choice and the softmax over low-rank scores stay."""
    basis = covariance_basis(KEYS[0, 0])[None]
    raw, centred = (low_rank_scores(QUERY, keys, basis, 2) for keys in (KEYS, KEYS - KEYS.mean(2, keepdim=True)))
    torch.testing.assert_close(raw.softmax(-1), centred.softmax(-1))


def test_query_heads_share_the_basis_of_their_key_head():
    draws = torch.Generator().manual_seed(0)
    query, key = torch.randn(2, 6, 5, 8, generator=draws), torch.randn(2, 3, 7, 8, generator=draws)
    basis = torch.linalg.qr(torch.randn(3, 8, 8, generator=draws))[0]
    scores, low = exact_scores(query, key), low_rank_scores(query, key, basis, 3)
    by_hand = exact_scores(projected(query, basis, 3), key)
    for head in range(6):
        down, q, k = basis[head // 2, :3], query[1, head], key[1, head // 2]
        torch.testing.assert_close(scores[1, head], q @ k.T / 8**0.5)
        torch.testing.assert_close(low[1, head], (q @ down.T) @ (k @ down.T).T / 8**0.5)
        torch.testing.assert_close(by_hand[1, head], low[1, head])
    torch.testing.assert_close(low_rank_scores(query, key, basis, 8), scores, atol=1e-5, rtol=0)
    half = low_rank_scores(query.bfloat16(), key.bfloat16(), basis, 3)
    assert half.dtype == torch.float32, "keys are ranked in float32 at least, or many would tie"


def test_counts_are_rounded_down_and_never_zero():
    assert [components(share, 64) for share in (1, 0.5, 0.125, 0.29, 0.01)] == [64, 32, 8, 18, 1]
    assert components(0.29, 100) == 29  # 0.29 · 100 is 28.999999999999996
    seen = torch.ones(1, 1, 100, 100, dtype=torch.bool).tril()
    for top in (1, 0.5, 0.29, 0.25, 0.01):
        expected = [max(1, (i * round(top * 100)) // 100) for i in range(1, 101)]
        assert key_counts(seen, top).flatten().tolist() == expected
        assert most_keys(100, top) == max(expected)
    assert key_counts(seen, 0.29, whole=True).flatten().tolist() == [29] * 100


def test_a_row_that_sees_few_keys_attends_to_these():
    seen = torch.ones(1, 1, 6, 6, dtype=torch.bool).tril()
    scores = torch.randn(1, 2, 6, 6, generator=torch.Generator().manual_seed(0))
    chosen = best(scores, seen, key_counts(seen, 0.5, whole=True), most_keys(6, 0.5))
    assert chosen.sum(-1).tolist() == [[[1, 2, 3, 3, 3, 3]] * 2]
    assert not (chosen & ~seen).any()
    masked = narrowed(None, chosen, torch.float32)
    assert scores.add(masked).softmax(-1).isfinite().all()
