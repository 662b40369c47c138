"""Deviation against the toy net's known numbers, a slow loop, and the theorems it states."""

import numpy as np
import pytest
import torch

from measures.deviation import HIDDEN, LOGITS, hidden_deviation, logit_deviation
from refusal import Refusal
from tests.probes.deviations import slow_logits
from tests.probes.toy import rms, run, weights


def toy_pair(scale=1.0):
    """The last token's stream behind (dense) and before the attention of layer 2, and the head."""
    states, a, _ = run()
    return states[2][-1] + scale * a[2][-1], states[2][-1], weights()[2]


def toy_deviation(temperature=1.0, norm=False, scale=1.0):
    dense, modified, head = toy_pair(scale)
    logits = [(rms(each) if norm else each) @ head.T for each in (dense, modified)]
    found = hidden_deviation(dense, modified) | logit_deviation(*logits, temperature)
    return {name: value.item() for name, value in found.items()}


# name -> T=1 without the final norm, T=.5 without, T=1 with. The known numbers count Δ from the side without the
# sublayer; what does not depend on that is here, the parts of Δ are below.
TABLE = {
    "h_cosine": (0.885379, 0.885379, 0.885379),
    "z_cosine": (0.591133, 0.591133, 0.591133),
    "p_cosine": (0.799995, 0.560330, 0.736416),
    "kl": (0.286454, 0.958878, 0.390790),
    "reverse_kl": (0.271865, 0.791864, 0.372064),
    "kl_estimate": (0.290072, 1.050774, 0.389522),
    "p_estimate": (0.262694, 0.629419, 0.284008),
    "uniform_variance": (0.540834, 0.540834, 0.745828),
}
CASES = [(1.0, False), (0.5, False), (1.0, True)]


@pytest.mark.parametrize("column", range(3))
def test_the_toy_net_gives_the_known_numbers(column):
    found = toy_deviation(*CASES[column])
    for name, row in TABLE.items():
        assert found[name] == pytest.approx(row[column], abs=1e-6), name


@pytest.mark.parametrize("norm", [False, True])
def test_the_toy_net_gives_the_known_parts_from_the_side_without_the_sublayer(norm):
    """The reference measures Δ from the residual; handing the sides over the other way round must give its numbers."""
    dense, modified, head = toy_pair()
    back = [(rms(each) if norm else each) @ head.T for each in (modified, dense)]
    found = hidden_deviation(modified, dense) | logit_deviation(*back)
    expected = (-0.586396, 0.586396, 0.564344, 0.159242) if norm else (-0.683756, 0.683756, 0.431500, 0.093096)
    names = ("z_alpha", "z_parallel", "z_orthogonal", "z_estimate")
    np.testing.assert_allclose([found[name].item() for name in names], expected, atol=1e-6)
    names = ("h_alpha", "h_parallel", "h_orthogonal")
    np.testing.assert_allclose([found[name].item() for name in names], (-0.323035, 0.323035, 0.355442), atol=1e-6)


def test_the_theorems_hold_for_a_contribution_a_thousand_times_smaller():
    found = toy_deviation(scale=1e-3)
    assert found["kl"] / found["kl_estimate"] == pytest.approx(0.999864, abs=1e-6)
    assert (1 - found["p_cosine"]) / found["p_estimate"] == pytest.approx(0.999345, abs=1e-6)
    for cosine, estimate in (("h_cosine", "h_estimate"), ("z_cosine", "z_estimate")):
        shortened = 1 - 2 * found[f"{cosine[0]}_alpha"]  # the next order: Δ also changes the length
        assert (1 - found[cosine]) / found[estimate] == pytest.approx(shortened, abs=1e-5), cosine
    dense, modified, _ = toy_pair(1e-3)
    back = hidden_deviation(modified, dense)  # the known ratio counts from the side without the sublayer
    assert ((1 - back["h_cosine"]) / back["h_estimate"]).item() == pytest.approx(1.000646, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("size", [1e-4, 1e-2, 5.0])
def test_it_agrees_with_a_slow_loop(dtype, temperature, size):
    """At small Δ as well, where float32 sums would be noise; the shift by 20 is no difference of probabilities."""
    dice = torch.Generator().manual_seed(3)
    z = torch.randn(4, 3, 97, generator=dice) * 3
    dense, modified = z.to(dtype), (z + 20 + size * torch.randn(4, 3, 97, generator=dice)).to(dtype)
    found = logit_deviation(dense, modified, temperature)
    assert set(found) == set(LOGITS)
    for place in np.ndindex(4, 3):
        expected = slow_logits(dense[place].double().numpy(), modified[place].double().numpy(), temperature)
        for name, value in expected.items():
            assert found[name].shape == (4, 3) and found[name].dtype == torch.float64
            # Rounding of a KL is 1e-15 of Δz / T, which is 20 / .3 here.
            assert found[name][place].item() == pytest.approx(value, rel=1e-6, abs=2e-13), name


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_same_logits_do_not_deviate(dtype):
    z = (torch.randn(20, 97, generator=torch.Generator().manual_seed(0)) * 8).to(dtype)
    for name, value in (hidden_deviation(z, z) | logit_deviation(z, z, 0.7)).items():
        expected = 1.0 if name.endswith("cosine") else 0.0
        assert value.sub(expected).abs().max() < 1e-15 if expected else value.eq(0).all(), name


def test_a_shift_of_all_logits_moves_no_probability_and_a_longer_stream_does_not_turn():
    z = torch.randn(20, 97, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 4
    shifted = logit_deviation(z, z + 100)
    for name in ("kl", "reverse_kl", "kl_estimate", "p_estimate", "uniform_variance"):
        assert shifted[name].max() < 1e-11, name
    assert shifted["p_cosine"].min() > 1 - 1e-12 and shifted["z_cosine"].max() < 0.9
    longer = hidden_deviation(z, 3 * z)
    assert set(longer) == set(HIDDEN)
    torch.testing.assert_close(longer["h_alpha"], torch.full((20,), 2.0, dtype=torch.float64))
    assert longer["h_orthogonal"].max() < 1e-14 and longer["h_cosine"].min() > 1 - 1e-14


def test_a_token_that_becomes_impossible_costs_what_it_weighed():
    """Probabilities that underflow must not make a KL infinite or not a number."""
    dense, modified = torch.tensor([0.0, 0.0, -900.0]), torch.tensor([0.0, -2000.0, 0.0])
    found = logit_deviation(dense, modified)
    assert found["kl"].item() == pytest.approx(1000.0, rel=1e-12)  # half of the weight falls by 2000 nats
    assert found["reverse_kl"].item() == pytest.approx(450.0, rel=1e-12)


def test_a_vector_of_zeros_has_no_direction():
    zero, one = torch.zeros(4), torch.ones(4)
    assert hidden_deviation(zero, one)["h_cosine"] == hidden_deviation(one, zero)["h_cosine"] == 0
    assert hidden_deviation(one, zero)["h_alpha"] == -1
    assert all(value.isfinite().all() for value in logit_deviation(zero, one).values())


@pytest.mark.parametrize("temperature", [0, 0.0, -1.0, float("nan"), float("inf")])
def test_a_temperature_that_is_not_above_zero_is_refused(temperature):
    with pytest.raises(Refusal, match="Write a number above 0"):
        logit_deviation(torch.ones(3), torch.ones(3), temperature)
