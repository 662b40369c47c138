"""Numbers that are none are refused, in every precision."""

import math

import pytest
import torch

from measures.finite import FiniteCheck, finite, refuse_nonsense
from refusal import Refusal

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_value_is_enough(dtype):
    values = torch.zeros(3, 5, dtype=dtype)
    assert finite(values)
    for wrong in (math.nan, math.inf, -math.inf):
        values[1, 2] = wrong
        assert not finite(values)
    assert not finite(torch.tensor([math.nan, math.inf, 1.0], dtype=dtype))


def test_the_largest_numbers_are_finite():
    assert finite(torch.full((4,), torch.finfo(torch.float32).max)) and finite(torch.empty(0, 3))


def test_the_refusal_says_what_and_what_to_do():
    refuse_nonsense("The logits", torch.ones(2), torch.ones(3))
    with pytest.raises(Refusal, match=r"^The logits contain NaN or infinite values.*float32 or bfloat16"):
        refuse_nonsense("The logits", torch.ones(2), torch.tensor([math.nan]))


def test_a_check_looks_now_and_refuses_later():
    check = FiniteCheck()
    check.refuse()  # nothing was looked at
    check.look("The logits", torch.ones(2))
    check.look("The keys", torch.tensor([math.inf]), torch.ones(1))
    check.look("The values", torch.tensor([math.nan]))
    with pytest.raises(Refusal, match=r"^The keys contain"):
        check.refuse()
    check.refuse()  # what was refused is forgotten
