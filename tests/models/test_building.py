"""Models that are built while others are built, or computed with, on other threads."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import torch
from torch.nn.modules.module import register_module_parameter_registration_hook
from transformers import AutoModelForCausalLM, PreTrainedModel, modeling_utils

from models.loading import building
from models.loading.building import loaded
from models.loading.load import load
from models.subject import ModelRef
from tests.models.tiny import TINY, tiny_model

WAIT = 60  # seconds


class Door:
    """A lock that tells when somebody finds it taken."""

    def __init__(self):
        self.waits, self._lock = threading.Event(), threading.RLock()

    def __enter__(self):
        if not self._lock.acquire(blocking=False):
            self.waits.set()
            self._lock.acquire()

    def __exit__(self, *error):
        self._lock.release()


@pytest.fixture
def halfway():
    """The first model built in bfloat16 stops at its first weight. Two events: it is there, and it may go on."""
    there, on = threading.Event(), threading.Event()

    def stopped(module, name, weight):
        if weight is not None and weight.dtype == torch.bfloat16 and not there.is_set():
            there.set()
            assert on.wait(WAIT)

    hook = register_module_parameter_registration_hook(stopped)
    yield there, on
    on.set()
    hook.remove()


@contextmanager
def everywhere(dtype, name=None):
    """What transformers does by itself: the default dtype of the whole process."""
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def alone(folder, dtype):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(modeling_utils, "local_torch_dtype", everywhere)
        return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)


def dtypes(model):
    """Of every weight and table, by name."""
    return {name: each.dtype for tensors in (model.named_parameters(), model.named_buffers()) for name, each in tensors}


def test_others_make_their_tensors_as_before(tiny_folder, halfway):
    there, on = halfway
    with ThreadPoolExecutor(1) as pool:
        half = pool.submit(load, ModelRef(str(tiny_folder), device="cpu", dtype="bfloat16"))
        assert there.wait(WAIT)
        made = [torch.zeros(1), torch.tensor(0.5), torch.arange(3) / 2]
        on.set()
        assert torch.bfloat16 in dtypes(half.result(WAIT).model).values()
    assert [each.dtype for each in made] == [torch.float32] * 3


def test_a_second_one_waits_and_both_are_whole(tiny_folder, halfway, monkeypatch):
    there, on = halfway
    ties, door = PreTrainedModel.tie_weights, Door()
    monkeypatch.setattr(building, "_ONE", door)
    refs = [ModelRef(str(tiny_folder), device="cpu", dtype=dtype) for dtype in ("bfloat16", "float32")]
    with ThreadPoolExecutor(2) as pool:
        half = pool.submit(load, refs[0])
        assert there.wait(WAIT)
        full = pool.submit(load, refs[1])
        assert door.waits.wait(WAIT)
        on.set()
        subjects = half.result(WAIT), full.result(WAIT)
    for subject, ref in zip(subjects, refs, strict=True):
        assert dtypes(subject.model) == dtypes(alone(tiny_folder, getattr(torch, ref.dtype)))
    assert torch.get_default_dtype() == torch.float32
    assert PreTrainedModel.tie_weights is ties


@pytest.mark.parametrize("name", TINY)
def test_what_is_built_is_what_transformers_builds(name, tmp_path):
    tiny_model(name).to(torch.bfloat16).save_pretrained(tmp_path)
    expected, (built, _) = alone(tmp_path, torch.bfloat16), loaded(tmp_path, dtype=torch.bfloat16)
    assert dtypes(built) == dtypes(expected)
    assert torch.bfloat16 in dtypes(built).values()
    buffers = dict(expected.named_buffers())
    for key, buffer in built.named_buffers():
        assert torch.equal(buffer, buffers[key]), key
