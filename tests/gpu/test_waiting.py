"""The host does not wait for the device at every token: so many times per window, however long the window is."""

import warnings
from contextlib import contextmanager

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.gpu.shapes import DEVICE
from probes import PROBES
from probes.base import read_params
from tests.gpu.asked import learned, made
from tests.models.tiny import LAYERS, tokens
from tests.probes.subjects import corpus_of

# Most waits for one window more, over the layers of the model: a check for numbers that are none, and what is kept of it.
PER_WINDOW = {"similarity": 10, "fidelity": 4, "transitions": 4}
ASKED = [("similarity", {}), ("fidelity", {}), ("transitions", {"last": True})]
_READS = {"aten::_local_scalar_dense", "aten::equal", "aten::nonzero", "aten::bincount", "aten::masked_select"}


class _Reads(TorchDispatchMode):
    """Counts the operations that have to wait: what a CPU can tell of it."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func.name().split(".")[0] in _READS
        return func(*args, **(kwargs or {}))


@contextmanager
def waits():
    """How often the host waited for the device in this block, as a list of one number."""
    told = [0]
    if DEVICE.type == "cpu":
        with _Reads() as reads:
            yield told
        told[0] = reads.count
        return
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield told
        finally:
            torch.cuda.set_sync_debug_mode("default")
    told[0] = sum("called a synchronizing" in str(each.message) for each in said)


def counted(name, params, subject, windows, length):
    """Waits of a probe over windows of some length."""
    probe, corpus, plan = PROBES[name], corpus_of(tokens(windows, length)), learned(subject, "a1,m3")
    args = (subject, corpus, plan, read_params(probe, params))
    probe.run(*args)  # whatever is set up once
    with waits() as told:
        probe.run(*args)
    return told[0]


@pytest.fixture(scope="module")
def subject():
    return made("llama")


def test_a_wait_is_seen():
    with waits() as told:
        for value in torch.arange(3, device=DEVICE):
            value.item()
    assert told[0] >= 3


@pytest.mark.parametrize("name, params", ASKED)
def test_waits_do_not_grow_with_the_tokens(subject, name, params):
    """Similarity looks at 256 tokens at a time, and these windows are shorter."""
    assert counted(name, params, subject, 2, 32) == counted(name, params, subject, 2, 128) > 0


@pytest.mark.parametrize("name, params", ASKED)
def test_waits_per_window_are_few(subject, name, params):
    more = counted(name, params, subject, 6, 32) - counted(name, params, subject, 2, 32)
    assert 0 <= more / 4 <= PER_WINDOW[name] * LAYERS
