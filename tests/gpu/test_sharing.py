"""Views share the weights on the device, and a model that is let go gives its memory back."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.gpu.clock import allocated
from benchmarks.gpu.shapes import DEVICE, llama, weight_bytes
from models.lease import Leases
from models.subject import ModelRef
from plans.cut import cut
from plans.plan import parse

VIEWS = 8


@pytest.fixture(scope="module")
def subject():
    return llama("1B", layers=4)


def test_a_view_has_the_weights_of_the_dense_model(subject):
    dense = {weight.data_ptr() for weight in (*subject.model.parameters(), *subject.model.buffers())}
    view = cut(subject, parse("a0,m1,b2"))
    assert {weight.data_ptr() for weight in (*view.model.parameters(), *view.model.buffers())} <= dense
    assert all(weight.device.type == DEVICE.type for weight in view.model.parameters())


def test_views_take_hardly_any_memory(subject):
    before = allocated()
    views = [cut(subject, parse(f"a{place % 4},m{(place + 1) % 4}")) for place in range(VIEWS)]
    assert len(views) == VIEWS and allocated() - before <= 0.01 * weight_bytes(subject) * VIEWS


def test_a_view_that_ran_leaves_nothing(subject):
    ids = torch.arange(64, device=DEVICE)[None]
    cut(subject).logits(ids)
    before = allocated()
    cut(subject, parse("a1")).logits(ids)
    assert allocated() - before <= 0.01 * weight_bytes(subject)


def test_a_lease_that_ends_can_be_unloaded(tiny_folder, tmp_path):
    """A model of 60 MB, so that it is seen among what torch keeps for itself."""
    config = LlamaConfig.from_pretrained(tiny_folder)
    config.update({"hidden_size": 512, "intermediate_size": 2048, "head_dim": 128})
    model = LlamaForCausalLM(config)
    model.save_pretrained(tmp_path)
    for file in tiny_folder.glob("tokenizer*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    size = sum(weight.nbytes for weight in model.parameters())
    leases, before = Leases(), allocated()
    with leases.lease(ModelRef(str(tmp_path), device=DEVICE.type)) as held:
        ids = torch.arange(16, device=DEVICE)[None]
        cut(held, parse("a1")).logits(ids)
        assert held.model.device.type == DEVICE.type
        assert leases.release() == 0  # somebody holds it
        if DEVICE.type == "cuda":
            assert allocated() - before >= 0.9 * size
            assert leases.residents()[0].place == "cuda"
    del held
    assert leases.release() == 1 and leases.residents() == []
    assert allocated() - before <= 0.05 * size
