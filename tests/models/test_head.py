"""The head alone gives the model's own logits, also into memory that it uses again."""

import pytest
import torch

from models.head import Head, last_states
from plans.cut import cut
from tests.models.tiny import TINY, tiny_model, tokens
from tests.probes.subjects import subject_of


def states_of(subject, seed):
    return last_states(cut(subject), tokens(seed=seed)).flatten(0, 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", TINY)
def test_memory_used_again_changes_no_logit(name, dtype):
    subject = subject_of(tiny_model(name).to(dtype))
    head, some, others = Head(subject), states_of(subject, 1), states_of(subject, 2)
    fresh = [head(states) for states in (some, others, others[:3])]
    used = [head(states, reuse=True).clone() for states in (some, others, others[:3])]
    assert all(torch.equal(*pair) for pair in zip(fresh, used, strict=True))
    assert torch.equal(fresh[0], head(some)), "what was given before is nobody's memory"
    torch.testing.assert_close(fresh[0], subject.model(tokens(seed=1)).logits.flatten(0, 1), atol=1e-2, rtol=1e-2)


def test_a_head_with_biases_uses_its_memory_again():
    subject = subject_of(tiny_model("phi"))
    head, states = Head(subject), states_of(subject, 1)
    assert subject.model.get_output_embeddings().bias is not None
    assert head(states, reuse=True).data_ptr() == head(states[:5], reuse=True).data_ptr() != head(states).data_ptr()
