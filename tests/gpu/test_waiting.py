"""The host does not wait for the device at every token: so many times per window, however long the window is."""

import warnings
from contextlib import contextmanager

import pytest
import torch

from benchmarks.gpu.shapes import DEVICE
from probes import PROBES
from probes.base import read_params
from tests.gpu.asked import learned, made
from tests.models.tiny import tokens
from tests.probes.subjects import corpus_of
from tests.probes.waits import Waits

# Most waits for one window more, however many layers there are. A CPU, where windows pass one by one, counts 2 to 4, see
# tests/probes/test_waiting.py; a device also waits for what is copied to it.
PER_WINDOW = 10
ASKED = [
    ("similarity", {}), ("fidelity", {}), ("transitions", {"last": True}), ("transitions", {"last": False}), ("key_rank", {}),
]  # fmt: skip


@contextmanager
def waits():
    """How often the host waited for the device in this block, as a list of one number."""
    told = [0]
    if DEVICE.type == "cpu":
        with Waits() as seen:
            yield told
        told[0] = seen.reads
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
    probe, corpus = PROBES[name], corpus_of(tokens(windows, length))
    plan = learned(subject, "a1,m3" if probe.takes_plan else "")
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


@pytest.mark.parametrize("name, params", [*ASKED, ("drop_scan", {})])
def test_waits_do_not_grow_with_the_tokens(subject, name, params):
    assert counted(name, params, subject, 2, 32) == counted(name, params, subject, 2, 128) > 0


@pytest.mark.parametrize("name, params", ASKED)
def test_waits_per_window_are_few(subject, name, params):
    more = counted(name, params, subject, 6, 32) - counted(name, params, subject, 2, 32)
    assert 0 <= more / 4 <= PER_WINDOW
