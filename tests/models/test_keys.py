"""Keys of every family against what its projections, norms and cache give when they are read by hand."""

import gc

import numpy as np
import pytest
import torch

from models.families import family_of
from models.keys import key_basis, watch_keys
from plans.cut import cut
from plans.plan import parse
from refusal import Refusal
from tests.models.tiny import TINY, tiny_model, tokens
from tests.probes.subjects import subject_of

WINDOWS, LENGTH = 2, 12
PER_HEAD_NORM = ("qwen3", "qwen3_moe", "gemma3_text", "exaone4")
WIDE_NORM = ("olmo2", "olmo3", "olmoe")
NO_ROTATION = {"gpt2", "gpt2-scaled", "opt", "bloom", "mpt", "falcon-rw"}
SOME_ROTATION = {
    "smollm3": [True, True, False, True, False],
    "cohere2": [True, False] * 2 + [True],
    "exaone4": [True, False] * 2 + [True],
}


def seen(view, ids, cache=None):
    """What `watch_keys` shows of one forward pass, and its logits."""
    found = {}
    watch_keys(view, lambda layer, states: found.update({layer: {name: each.clone() for name, each in states.items()}}))
    return found, view.logits(ids, cache)


@torch.inference_mode()
def inputs_of(model, family, ids):
    """The input of every attention and the filled cache, from the dense model."""
    inputs, handles = [], []
    for block in model.get_submodule(family.layers):
        attention = block.get_submodule(family.attention.module)
        handles.append(
            attention.register_forward_pre_hook(
                lambda _, args, kwargs: inputs.append(args[0] if args else kwargs["hidden_states"]), with_kwargs=True
            )
        )
    out = model(input_ids=ids, use_cache=True)
    for handle in handles:
        handle.remove()
    return inputs, out.past_key_values, out.logits


@torch.inference_mode()
def keys_by_hand(name, attention, states, config):
    """Keys without rotation, (windows, tokens, heads, head_dim), from the weights of one attention."""
    model_type, shape, d = TINY[name][0], states.shape[:2], getattr(config, "head_dim", None) or 8
    if model_type in ("gpt2", "mpt"):
        fused = attention.c_attn(states) if model_type == "gpt2" else attention.Wqkv(states)
        return fused.chunk(3, -1)[1].view(*shape, 4, 8)
    if model_type == "bloom":
        return attention.query_key_value(states).view(*shape, 4, 3, 8)[..., 1, :]
    if model_type == "gpt_neox":
        return attention.query_key_value(states).view(*shape, 4, 24)[..., 8:16]
    if model_type == "falcon":
        groups = 2 if config.new_decoder_architecture else 1
        return attention.query_key_value(states).view(*shape, groups, 4 // groups + 2, 8)[..., -2, :]
    if model_type == "phi3":
        return attention.qkv_proj(states)[..., 32:48].view(*shape, 2, 8)
    if model_type.startswith("deepseek"):
        latent, turned = attention.kv_a_proj_with_mqa(states).split([16, 8], -1)
        still = attention.kv_b_proj(attention.kv_a_layernorm(latent)).view(*shape, 4, 16)[..., :8]
        if model_type == "deepseek_v3":  # rotation lays even dimensions before odd ones
            turned = torch.cat([turned[..., 0::2], turned[..., 1::2]], -1)
        return torch.cat([still, turned.unsqueeze(2).expand(-1, -1, 4, -1)], -1)
    keys = attention.k_proj(states)
    if model_type in WIDE_NORM:
        keys = attention.k_norm(keys)
    keys = keys.view(*shape, -1, d)
    if model_type in PER_HEAD_NORM:
        keys = attention.k_norm(keys)
    return attention.key_layernorm(keys) if model_type == "hunyuan_v1_dense" else keys


@pytest.mark.parametrize("name", TINY)
def test_keys_of_every_family(name):
    model = tiny_model(name)
    family, config = family_of(model.config), model.config
    ids = tokens(WINDOWS, LENGTH)
    found, logits = seen(cut(subject_of(model)), ids)
    inputs, cache, expected = inputs_of(model, family, ids)
    assert torch.equal(logits, expected) and list(found) == list(range(5))
    rotary = SOME_ROTATION.get(name, [name not in NO_ROTATION] * 5)
    for layer, states in found.items():
        attention = model.get_submodule(family.layers)[layer].get_submodule(family.attention.module)
        pre, post = (states[part].unflatten(0, (WINDOWS, LENGTH)) for part in ("pre", "post"))
        torch.testing.assert_close(pre, keys_by_hand(name, attention, inputs[layer], config), atol=1e-5, rtol=1e-5)
        assert torch.equal(pre, post) != rotary[layer]
        kept = cache.layers[layer].keys.transpose(1, 2)
        if name.startswith("deepseek"):  # the cache holds what is rotated, one for all heads; the rest is the same
            kept = cache.layers[layer].values.transpose(1, 2).expand(-1, -1, 4, -1)
            assert torch.equal(pre[..., :8], post[..., :8])
            post = post[..., 8:]
        copies = kept.shape[2] // post.shape[2]  # Falcon keeps a copy of each key per query
        torch.testing.assert_close(post[:, -kept.shape[1] :], kept[:, :, ::copies], atol=1e-5, rtol=1e-5)
        assert states["value"].shape[:2] == states["post"].shape[:2]
        assert states["query"].shape == (WINDOWS * LENGTH, 4, states["post"].shape[-1])


@pytest.mark.parametrize(
    "name", ["llama", "qwen3", "phi3", "gpt2", "gpt_neox", "glm", "deepseek_v3", "falcon-40b", "mpt", "bloom"]
)
@torch.inference_mode()
def test_queries_keys_and_values_are_those_of_attention(name):
    model = tiny_model(name)
    family = family_of(model.config)
    view, ids = cut(subject_of(model)), tokens(1, 9)
    output = {"gpt2": "c_proj", "gpt_neox": "dense", "falcon-40b": "dense", "bloom": "dense", "mpt": "out_proj"}
    outputs = []
    for block in view.layers:
        project = block.get_submodule(family.attention.module).get_submodule(output.get(name, "o_proj"))
        project.register_forward_pre_hook(lambda _, args: outputs.append(args[0][0].clone()))
    found, _ = seen(view, ids)
    for layer, states in found.items():
        query, key, value = (states[part].transpose(0, 1) for part in ("query", "post", "value"))
        groups = len(query) // len(key)
        key, value = key.repeat_interleave(groups, 0), value.repeat_interleave(groups, 0)
        scores = query @ key.mT / query.shape[-1] ** 0.5
        if name in ("mpt", "bloom"):  # further away is less; the slopes of four heads are 1/4, 1/16, …
            slopes = torch.tensor([4.0 ** -(head + 1) for head in range(4)])
            scores = scores - slopes[:, None, None] * (torch.arange(9)[:, None] - torch.arange(9))
        scores = scores.masked_fill(torch.ones(9, 9).triu(1).bool(), float("-inf"))
        mixed = (scores.softmax(-1) @ value).transpose(0, 1).flatten(1)
        torch.testing.assert_close(outputs[layer], mixed, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2", "deepseek_v2", "mpt", "falcon-40b"])
def test_decoding_with_a_cache_shows_the_new_tokens_alone(name):
    model, ids = tiny_model(name), tokens(1, 14)
    whole, logits = seen(cut(subject_of(model)), ids)
    view = cut(subject_of(model))
    cache, parts = view.cache(), []
    watch_keys(view, lambda layer, states: parts.append((layer, {part: each.clone() for part, each in states.items()})))
    last = [view.logits(ids[:, part], cache) for part in (slice(0, 10), slice(10, 11), slice(11, 14))][-1]
    torch.testing.assert_close(last, logits[:, 11:], atol=1e-4, rtol=1e-4)
    for layer, states in whole.items():
        for part, expected in states.items():
            found = torch.cat([taken[part] for place, taken in parts if place == layer])
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_layers_keep_their_dense_number():
    model, ids = tiny_model("llama"), tokens()
    dense, _ = seen(cut(subject_of(model)), ids)
    found, _ = seen(cut(subject_of(model), parse("b0,a3")), ids)
    assert list(found) == [1, 2, 4] and list(dense) == [0, 1, 2, 3, 4]


def test_the_dense_model_is_not_touched():
    model = tiny_model("llama")
    seen(cut(subject_of(model)), tokens())
    assert all("forward" not in vars(module) for module in model.modules())


@pytest.mark.parametrize("name", ["llama", "deepseek_v2", "gpt2"])
def test_nothing_is_held_after_a_pass(name):
    def held():
        gc.collect()
        return sum(each.nbytes for each in gc.get_objects() if type(each) is torch.Tensor)

    model, ids = tiny_model(name), tokens()
    view = cut(subject_of(model))
    watch_keys(view, lambda *_: None)
    before = held()
    view.logits(ids)
    assert held() <= before


def test_a_model_without_attention_is_refused():
    model = tiny_model("llama")
    view = cut(subject_of(model), parse("a0-4"))
    with pytest.raises(Refusal, match="No attention is left"):
        watch_keys(view, lambda *_: None)
    with pytest.raises(Refusal, match="No attention is left"):
        key_basis(view, tokens())


@pytest.mark.parametrize("name", ["llama", "falcon-40b", "deepseek_v2"])
def test_the_basis_is_that_of_the_covariance(name):
    model, ids = tiny_model(name), tokens(3, 40)
    found, _ = seen(cut(subject_of(model)), ids)
    basis = key_basis(cut(subject_of(model)), ids)
    assert list(basis) == [0, 1, 2, 3, 4] and basis[0].dtype == torch.float32 and not basis[0].is_inference()
    for layer, rows in basis.items():
        keys = found[layer]["post"].double().numpy()
        assert rows.shape == (keys.shape[1], keys.shape[2], keys.shape[2])
        for head, each in enumerate(rows.double().numpy()):
            turned = each @ np.cov(keys[:, head].T) @ each.T
            variances = turned.diagonal()
            assert (np.diff(variances) <= 1e-6).all()
            np.testing.assert_allclose(turned, np.diag(variances), atol=1e-6 * max(1, variances[0]))
            np.testing.assert_allclose(each @ each.T, np.eye(len(each)), atol=1e-6)
            assert (each[np.arange(len(each)), np.abs(each).argmax(1)] > 0).all()
    again = key_basis(cut(subject_of(model)), ids)
    assert all(torch.equal(basis[layer], again[layer]) for layer in basis)


def test_a_basis_of_what_is_left():
    model = tiny_model("llama")
    assert list(key_basis(cut(subject_of(model), parse("a1,b4")), tokens())) == [0, 2, 3]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_keys_that_are_not_numbers_are_refused(bad):
    model = tiny_model("llama")
    model.model.layers[1].self_attn.k_proj.weight[0, 0] = bad
    with pytest.raises(Refusal, match="keys contain NaN or infinite"):
        key_basis(cut(subject_of(model)), tokens())


def test_progress_can_cancel():
    model = tiny_model("llama")

    def cancel(done, total, text):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        key_basis(cut(subject_of(model)), tokens(), cancel)


def test_queries_of_an_attention_that_adds_into_its_product():
    """GPT-2 can compute its scores as buffer + query · keys: the query is the second of the three."""
    model, ids = tiny_model("gpt2"), tokens(1, 12)
    seen = []
    for adds in (False, True):
        view = cut(subject_of(model))
        view.model.config._attn_implementation = "eager"
        for block in view.layers:
            block.attn.reorder_and_upcast_attn = adds
        watch_keys(view, lambda layer, states: seen.append(states["query"]))
        view.logits(ids)
    plain, added = seen[: len(seen) // 2], seen[len(seen) // 2 :]
    assert len(plain) == 5 and all(torch.allclose(*pair, atol=1e-6) for pair in zip(plain, added, strict=True))
