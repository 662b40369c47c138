"""A vocabulary of 256,000 tokens does not fill the memory: logits are made a few positions at a time."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from models import batching
from plans.cut import cut
from plans.plan import parse
from probes import PROBES
from probes.base import NoParams
from probes.deviation.dense import DenseSide
from tests.models.tiny import tiny_model
from tests.probes.subjects import corpus_of, plain_tokenizer, subject_of

VOCAB, WINDOWS, LENGTH = 256_000, 3, 96
LOGITS = 4 * VOCAB  # bytes of one position's, in float32
MOST = 4 * 2**25 + LOGITS  # what fidelity promises to hold of one side, and a row that does not divide


class Largest(TorchDispatchMode):
    """The bytes of the largest tensor that an operation made; views of others count as what they show."""

    bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for each in out if isinstance(out, tuple | list) else (out,):
            if isinstance(each, torch.Tensor):
                self.bytes = max(self.bytes, each.numel() * each.element_size())
        return out


@pytest.fixture(scope="module")
def subject():
    """Its embeddings are 8 MB wide, so that weights do not hide what is made of them."""
    model = tiny_model("llama", vocab_size=VOCAB, hidden_size=8, intermediate_size=8, num_hidden_layers=2, head_dim=2)
    return subject_of(model, plain_tokenizer(VOCAB))


@pytest.fixture(scope="module")
def windows():
    return torch.randint(3, VOCAB, (WINDOWS, LENGTH), generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=[1, WINDOWS], ids=["singly", "together"])
def size(request, monkeypatch):
    """Windows one by one, and all of them at once as on a GPU."""
    monkeypatch.setattr(batching, "batch_size", lambda device, window_bytes: request.param)
    return request.param


def test_the_naive_way_is_seen(subject, windows):
    with Largest() as largest:
        cut(subject).logits(windows)
    assert largest.bytes >= WINDOWS * LENGTH * LOGITS > 2 * MOST


def test_the_dense_side_makes_no_logits(subject, windows, size):
    with Largest() as largest:
        DenseSide(subject, windows).batch(0, WINDOWS)
    assert 0 < largest.bytes < LOGITS


def test_fidelity_makes_a_bounded_number_of_them(subject, windows, size):
    with Largest() as largest:
        found = PROBES["fidelity"].run(subject, corpus_of(windows), parse("a1"), NoParams())
    assert found.tokens == WINDOWS * (LENGTH - 1) and found.kl > 0
    assert LOGITS < largest.bytes <= 2 * MOST, "both sides are projected together"
