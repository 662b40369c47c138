"""Half precision is widened; Apple's GPUs hand float64 to the CPU."""

import pytest
import torch

from measures.precision import at_least_float32, float64_device


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_at_least_float32(dtype):
    values = torch.arange(3).to(dtype)
    found = at_least_float32(values)
    assert found.dtype == (torch.float64 if dtype == torch.float64 else torch.float32) and torch.equal(found, values.to(found))
    assert dtype not in (torch.float32, torch.float64) or found is values


@pytest.mark.parametrize("name, place", [("mps", "cpu"), ("cpu", "cpu"), ("cuda:1", "cuda:1"), ("meta", "meta")])
def test_float64_is_computed_where_it_exists(name, place):
    assert float64_device(torch.device(name)) == torch.device(place)
