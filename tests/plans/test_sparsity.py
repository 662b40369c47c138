"""Which weights go: the worked examples, slow loops in float64, exact counts, and what SparseGPT is better at."""

import numpy as np
import pytest
import torch

from plans.weights.inputs import products, squares
from plans.weights.masks import lowest, magnitude_mask, share, sparsegpt, wanda_mask
from plans.weights.sparsity import Sparsity
from refusal import Refusal

WEIGHT = torch.tensor([[1, -2, 3, -4], [0.5, 0.4, -0.3, 0.2]], dtype=torch.float64)
WINDOWS = torch.tensor([[[1, 2, 0.5, 0.1], [1, 0, 0.5, 0.3]], [[0, 2, 1, 0.2], [1, 1, 0, 0.1]]], dtype=torch.float64)
HALF = {method: Sparsity(method, 0.5) for method in ("magnitude", "wanda", "sparsegpt")}
PAIRS = {method: Sparsity(method, 0.5, 4) for method in ("magnitude", "wanda", "sparsegpt")}


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def correlated(tokens: int, width: int) -> torch.Tensor:
    """Inputs that mostly lie in a quarter of their dimensions, as hidden states do."""
    return random(tokens, width // 4, seed=1) @ random(width // 4, width, seed=2) + 0.3 * random(tokens, width, seed=3)


def test_the_worked_example_of_wanda():
    sums = sum(squares(window) for window in WINDOWS) / 2
    torch.testing.assert_close(sums, torch.tensor([1.5, 4.5, 0.75, 0.075], dtype=torch.float64))
    scores = WEIGHT.abs() * sums.sqrt()
    expected = [[1.224745, 4.242641, 2.598076, 1.095445], [0.612372, 0.848528, 0.259808, 0.054772]]
    np.testing.assert_allclose(scores, expected, atol=1e-6)
    assert wanda_mask(WEIGHT, sums, HALF["wanda"]).tolist() == [[True, False, False, True], [False, False, True, True]]


def test_the_worked_example_of_magnitude():
    row = WEIGHT[:1]
    assert magnitude_mask(row, HALF["magnitude"]).tolist() == [[True, True, False, False]]
    assert magnitude_mask(row, HALF["magnitude"], compat=True).tolist() == [[True, True, True, False]]


def test_the_worked_example_of_sparsegpt():
    hessian = sum(products(window) for window in WINDOWS)  # 2 / 2 windows
    expected = [[3, 3, 1, 0.5], [3, 9, 3, 0.7], [1, 3, 1.5, 0.4], [0.5, 0.7, 0.4, 0.15]]
    np.testing.assert_allclose(hessian, expected, atol=1e-12)
    found = sparsegpt(WEIGHT, hessian, HALF["sparsegpt"], compat=True)
    np.testing.assert_allclose(found, [[0, -1.581287, 1.939159, -0.571692], [0, 0, 0, 0]], atol=1e-6)  # 5 of 8, by ≤
    found = sparsegpt(WEIGHT, hessian, PAIRS["sparsegpt"])
    np.testing.assert_allclose(found, [[0, -1.581287, 1.939159, 0], [0.5, 0.4, 0, 0]], atol=1e-6)
    # Exactly four: all of the second row, whose scores are the lowest, so the first one is left alone.
    np.testing.assert_allclose(sparsegpt(WEIGHT, hessian, HALF["sparsegpt"]), [[1, -2, 3, -4], [0, 0, 0, 0]], atol=1e-12)
    assert torch.equal(hessian, sum(products(window) for window in WINDOWS)), "the sums were overwritten"


def slow_sparsegpt(weight: np.ndarray, hessian: np.ndarray, ratio: float, group: int) -> np.ndarray:
    """Column by column with the inverse of what is left of the Hessian, worked out anew each time."""
    weight, rows, width = weight.copy(), *weight.shape
    hessian = hessian + 0.01 * np.diag(hessian).mean() * np.eye(width)
    inverses = [np.linalg.inv(hessian[j:, j:]) for j in range(width)]
    scales = np.array([inverse[0, 0] for inverse in inverses])
    mask = np.zeros(weight.shape, bool)
    for j in range(width):
        if group and j % group == 0:
            for row in range(rows):
                scores = weight[row, j : j + group] ** 2 / scales[j : j + group]
                mask[row, j + np.argsort(scores, kind="stable")[: round(group * ratio)]] = True
        elif not group and j % 128 == 0:
            stop = min(j + 128, width)
            scores = (weight[:, j:stop] ** 2 / scales[j:stop]).ravel()
            count = int(rows * stop * ratio + 1e-6) - int(rows * j * ratio + 1e-6)
            chosen = np.zeros(scores.size, bool)
            chosen[np.argsort(scores, kind="stable")[:count]] = True
            mask[:, j:stop] = chosen.reshape(rows, -1)
        for row in np.flatnonzero(mask[:, j]):
            weight[row, j:] -= weight[row, j] / inverses[j][0, 0] * inverses[j][0]
            weight[row, j] = 0.0
    return weight


@pytest.mark.parametrize(("ratio", "group"), [(0.5, 0), (0.3, 0), (0.5, 4), (0.5, 8), (2 / 5, 5)])
def test_sparsegpt_is_the_slow_loop(ratio, group):
    width = 150  # more than a block of columns
    width -= width % (group or 1)
    weight, hessian = random(7, width), products(correlated(400, width))
    found = sparsegpt(weight, hessian, Sparsity("sparsegpt", ratio, group))
    np.testing.assert_allclose(found, slow_sparsegpt(weight.numpy(), hessian.numpy(), ratio, group), atol=1e-8)
    assert int((found == 0).sum()) == share(7 * width, ratio)


@pytest.mark.parametrize("sparsity", [HALF, PAIRS], ids=["half", "2:4"])
def test_sparsegpt_comes_closest_to_the_outputs_and_magnitude_stays_farthest(sparsity):
    inputs, weight = correlated(600, 64), random(48, 64, seed=5)
    inputs = inputs * torch.linspace(0.2, 3.0, 64, dtype=torch.float64)

    def error(pruned: torch.Tensor) -> float:
        return float((inputs @ (pruned - weight).T).square().mean())

    magnitude = error(weight.masked_fill(magnitude_mask(weight, sparsity["magnitude"]), 0.0))
    wanda = error(weight.masked_fill(wanda_mask(weight, squares(inputs), sparsity["wanda"]), 0.0))
    repaired = error(sparsegpt(weight, products(inputs), sparsity["sparsegpt"]))
    assert repaired < 0.7 * wanda < 0.7 * magnitude


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("ratio", [0.01, 0.29, 0.5, 0.97])
def test_counts_are_exact(dtype, ratio):
    weight = random(20, 100).to(dtype)  # bfloat16 has many ties
    assert int(magnitude_mask(weight, Sparsity("magnitude", ratio)).sum()) == round(2000 * ratio)
    mask = wanda_mask(weight, squares(random(9, 100)), Sparsity("wanda", ratio))
    assert mask.sum(1).tolist() == [round(100 * ratio)] * 20


@pytest.mark.parametrize(("pruned", "group"), [(2, 4), (4, 8), (1, 4), (3, 5)])
def test_every_group_loses_the_same_number(pruned, group):
    weight, inputs = random(20, 200), correlated(300, 200)
    sparsity = {method: Sparsity(method, pruned / group, group) for method in HALF}
    for gone in (
        magnitude_mask(weight, sparsity["magnitude"]),
        wanda_mask(weight, squares(inputs), sparsity["wanda"]),
        sparsegpt(weight, products(inputs), sparsity["sparsegpt"]) == 0,
    ):
        assert set(gone.unflatten(1, (-1, group)).sum(-1).flatten().tolist()) == {pruned}


@pytest.mark.parametrize("width", [7, 200])  # both ways of finding the threshold
def test_ties_go_to_the_lower_index(width):
    scores = torch.ones(3, width)
    scores[1, ::2] = 0.5
    scores[2] = torch.arange(width) % 3
    for count in (0, 1, 3, width // 2, width):
        expected = np.zeros(scores.shape, bool)
        for row, order in enumerate(np.argsort(scores.numpy(), axis=1, kind="stable")):
            expected[row, order[:count]] = True
        assert np.array_equal(lowest(scores, count), expected)


def test_a_share_is_counted_in_decimals():
    assert share(100, 0.29) == 29  # 100 · 0.29 is 28.999… in binary
    assert share(10, 0.55) == 5
    assert share(3, 0.3) == 0


def test_an_input_that_is_always_zero_goes_first():
    inputs, weight = correlated(300, 16), random(8, 16)
    inputs[:, [3, 9]] = 0.0
    mask = wanda_mask(weight, squares(inputs), HALF["wanda"])
    assert bool(mask[:, [3, 9]].all())
    found = sparsegpt(weight, products(inputs), HALF["sparsegpt"])
    assert bool((found[:, [3, 9]] == 0).all()) and int((found == 0).sum()) == 64
    # Few are asked for: the others keep what they are, and pruning weights without effect changes no other weight.
    found = sparsegpt(weight, products(inputs), Sparsity("sparsegpt", 0.0625))
    assert int((found == 0).sum()) == 8 and torch.equal(found[found != 0], weight[found != 0])
    found = sparsegpt(weight, products(inputs), Sparsity("sparsegpt", 0.0625), compat=True)
    assert bool((found[:, [3, 9]] == 0).all())


def test_sums_of_half_precision_are_taken_in_float64():
    rows = torch.full((5000, 4), 0.1, dtype=torch.bfloat16)
    exact = 5000 * float(rows[0, 0]) ** 2
    np.testing.assert_allclose(squares(rows), exact, rtol=1e-6)
    np.testing.assert_allclose(products(rows), exact, rtol=1e-5)
    assert squares(rows).dtype == products(rows).dtype == torch.float64


def test_a_singular_hessian_is_damped_and_one_of_no_numbers_refused():
    one = random(1, 16)
    assert bool(sparsegpt(random(4, 16), one.T @ one, HALF["sparsegpt"]).isfinite().all())
    with pytest.raises(Refusal, match="cannot invert"):
        sparsegpt(random(4, 16), torch.full((16, 16), torch.nan, dtype=torch.float64), HALF["sparsegpt"])


def test_groups_that_do_not_fit_are_refused():
    weight = random(4, 10)
    for work in (
        lambda: magnitude_mask(weight, PAIRS["magnitude"]),
        lambda: wanda_mask(weight, squares(weight), PAIRS["wanda"]),
        lambda: sparsegpt(weight, products(weight), PAIRS["sparsegpt"]),
    ):
        with pytest.raises(Refusal, match="has 10, which 4 does not divide"):
            work()
