"""What families say of themselves is what their models are like; wirings are tested through views."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from models import families
from models.families import between, cache_argument, context, experts_per_token, family_of, is_router, stacked
from tests.models.tiny import TINY, tiny_model

EXPERTS = {"mixtral", "qwen2_moe", "qwen3_moe", "olmoe", "granitemoe", "gpt_oss", "deepseek_v2", "deepseek_v3"}


@pytest.fixture(params=TINY)
def tiny(request):
    """Name, family and model."""
    model = tiny_model(request.param)
    return request.param, family_of(model.config), model


def test_every_family(tiny):
    name, family, model = tiny
    block = model.get_submodule(family.layers)[-1]
    attention = block.get_submodule(family.attention.module)
    assert family.latent == hasattr(attention, "kv_lora_rank") == name.startswith("deepseek")
    assert not family.latent or callable(getattr(attention, family.expands_keys))
    assert bool(family.distinct_keys) == hasattr(attention, "num_kv_heads") == name.startswith("falcon")
    assert family.begins_with_bos == name.startswith("gemma")
    assert context(model.config) == 128
    assert experts_per_token(model.config) == (2 if name in EXPERTS else 1)
    assert cache_argument(attention.forward) in families.names.CACHE
    held = [stacked(module) for module in block.modules()]
    assert [known for weights, known in held if weights] == ([True] if name in EXPERTS else [])


@pytest.mark.parametrize("name, heads, copies", [("falcon-7b", 4, 4), ("falcon-40b", 4, 2), ("llama", 2, 1)])
def test_copies_of_keys(name, heads, copies):
    model = tiny_model(name)
    family = family_of(model.config)
    attention = model.get_submodule(family.layers)[0].get_submodule(family.attention.module)
    assert family.copies(attention, heads) == copies


@torch.inference_mode()
@pytest.mark.parametrize("name", sorted(EXPERTS))
def test_between_the_two_maps_of_an_expert(name):
    """With the second map it is what the experts make of a token that goes to one of them."""
    model = tiny_model(name)
    experts = next(module for module in model.modules() if stacked(module)[0])
    rows = torch.randn(3, 32, generator=torch.Generator().manual_seed(2))
    whole = experts(rows, torch.full((3, 1), 1), torch.ones(3, 1))
    second = experts.down_proj[1] if families.transposed(experts) else experts.down_proj[1].T
    out = between(experts, 1, rows) @ second + (experts.down_proj_bias[1] if experts.has_bias else 0)
    torch.testing.assert_close(out, whole, atol=1e-5, rtol=1e-5)


def test_names_of_the_cache():
    def newest(hidden, cache=None, past_key_values=None): ...

    def before(hidden, past_key_values=None): ...

    def oldest(hidden, layer_past=None): ...

    assert [cache_argument(each) for each in (newest, before, oldest)] == ["cache", "past_key_values", "layer_past"]


def test_names_of_the_context():
    assert context(SimpleNamespace(max_seq_len=7)) == 7
    assert context(SimpleNamespace(max_position_embeddings=None)) is None


@pytest.mark.parametrize(
    "name, routes",
    [
        ("mlp.gate", True),
        ("mlp.shared_expert_gate", True),
        ("block.router", True),
        ("mlp.a_router", True),
        ("mlp.gate_proj", False),
        ("mlp.up_proj", False),
    ],
)
def test_routers(name, routes):
    assert is_router(name) is routes


def test_nobody_else_in_this_layer_asks_which_family_it_is():
    home = Path(families.__file__).parent.parent
    asks = ("model_type", "gate_up_proj", "expand_kv", "num_experts_per_tok", "max_position_embeddings", "layer_past")
    asks += ("kv_lora_rank", "past_key_values")
    assert [(path.name, word) for path in home.glob("*.py") for word in asks if word in path.read_text()] == []
