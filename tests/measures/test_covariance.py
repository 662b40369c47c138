"""Running moments against numpy over everything at once."""

import numpy as np
import torch

from measures.covariance import Moments, components, eigenvalues
from measures.finite import finite

# Six keys of four dimensions, and what their covariance is known to give.
KEYS = torch.tensor(
    [[c * np.sin(0.7 * (i + 1) * (j + 1)) + (j == 0) for j, c in enumerate((2, 1.5, 1, 0.5))] for i in range(6)],
    dtype=torch.float64,
)


def moments(vectors, pieces=1):
    """Of vectors (heads, tokens, width), added in pieces."""
    seen = Moments()
    for part in vectors.double().tensor_split(pieces, 1):
        seen.add(part)
    return seen


def loud(heads=3, count=4000, width=16, seed=0):
    """float32 vectors with two loud channels around 20 and one that hardly varies."""
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(heads, count, width, generator=generator)
    vectors[..., 3] = 20 + 0.5 * vectors[..., 3]
    vectors[..., 7] = -20 + vectors[..., 7]
    vectors[..., 5] *= 1e-3
    return vectors


def test_the_known_keys_have_the_known_eigenvalues():
    seen = moments(KEYS[None], 3)
    found = eigenvalues(seen.covariance())[0]
    np.testing.assert_allclose(found, [2.679935, 0.921587, 0.583047, 0.171396], atol=1.5e-6)
    np.testing.assert_allclose(eigenvalues(seen.second_moment())[0], [4.166096, 1.289627, 0.494692, 0.147428], atol=1.5e-6)


def test_sums_agree_with_numpy_on_loud_channels():
    vectors = loud()
    seen = moments(vectors, 40)
    assert seen.count == 4000
    for head, each in enumerate(vectors.double().numpy()):
        exact = np.cov(each.T)
        np.testing.assert_allclose(seen.covariance()[head], exact, atol=1e-11)
        # the smallest eigenvalue, 1e-6, is what sums in float32 would lose
        np.testing.assert_allclose(eigenvalues(seen.covariance())[head], np.linalg.eigvalsh(exact)[::-1], rtol=1e-6)
        np.testing.assert_allclose(seen.second_moment()[head], each.T @ each / 4000, rtol=1e-12, atol=1e-12)


def test_parts_add_up_and_can_be_left_out():
    vectors = loud(count=100)
    whole, one, other = moments(vectors), moments(vectors[:, :30]), moments(vectors[:, 30:])
    assert (one + other).count == (whole - one).count + 30 == 100
    torch.testing.assert_close((one + other).covariance(), whole.covariance(), rtol=0, atol=1e-11)
    torch.testing.assert_close((whole - one).covariance(), other.covariance(), rtol=0, atol=1e-11)


def test_constant_vectors_have_no_variance_at_all():
    constant = torch.full((2, 50, 4), 17.3)
    assert not moments(constant, 7).covariance().any()
    almost = constant + 1e-7 * torch.randn(2, 50, 4, generator=torch.Generator().manual_seed(0))
    assert not moments(almost, 7).covariance().any()
    assert moments(constant + torch.randn(2, 50, 4)).covariance().any()


def test_one_vector_has_no_variance():
    assert not moments(torch.ones(1, 1, 3)).covariance().any()


def test_what_is_not_a_number_is_noticed():
    for bad in (float("nan"), float("inf"), float("-inf")):
        vectors = loud(count=10)
        assert finite(moments(vectors).sum)
        vectors[1, 4, 2] = bad
        assert not finite((moments(vectors) + moments(loud(count=10))).sum)


def test_components_are_eigenvectors_by_falling_eigenvalue():
    covariance = moments(loud()).covariance()
    rows = components(covariance)
    torch.testing.assert_close(rows @ rows.mT, torch.eye(16).double().expand(3, 16, 16))
    torch.testing.assert_close(rows @ covariance @ rows.mT, torch.diag_embed(eigenvalues(covariance)), rtol=1e-9, atol=1e-11)
    assert (rows.gather(-1, rows.abs().argmax(-1, keepdim=True)) > 0).all()
