"""Attention to chosen keys: with all of them nothing changes, in every family, and decoding chooses as the full forward."""

import copy
import threading

import pytest
import torch

from models.attention import attend_by
from plans.cut import Calibrated, cut
from plans.keys.choice import (
    METHODS,
    KeyChoice,
    switch_on,
)
from plans.keys.shares import LowRank
from plans.plan import parse
from refusal import Refusal
from tests.models.tiny import TINY, tiny_model, tokens
from tests.probes.subjects import subject_of

LATENT = {"deepseek_v2", "deepseek_v3"}
OUTSIDE = {name for name in TINY if name.startswith("falcon")} | {"bloom", "mpt"}
INSIDE = [name for name in TINY if name not in LATENT | OUTSIDE]


@pytest.fixture(scope="module")
def models():
    return {}


def model_of(models, name):
    if name not in models:
        models[name] = tiny_model(name)
    return models[name]


def view_of(model, plan=""):
    return cut(subject_of(model), parse(plan))


def random_basis(model, seed=0):
    """An orthogonal matrix per key head, whose first rows are nothing special."""
    config = model.config
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    heads = config.num_attention_heads
    if model.config.model_type not in ("gpt2", "gpt_neox", "opt"):
        heads = config.num_key_value_heads
    draws = torch.Generator().manual_seed(seed)
    return {i: torch.linalg.qr(torch.randn(heads, size, size, generator=draws))[0] for i in range(config.num_hidden_layers)}


# Every family


@pytest.mark.parametrize("name", INSIDE)
@torch.inference_mode()
def test_all_keys_in_all_dimensions_are_dense_attention(models, name):
    model, ids = model_of(models, name), tokens(length=14)
    eager = copy.deepcopy(model)
    eager.set_attn_implementation("eager")
    expected = eager(input_ids=ids, use_cache=False).logits
    view = view_of(model)
    for method in METHODS if name == "llama" else ("loki", "pca"):
        switch_on(view, random_basis(model), 1, 1, method)
        near = 1e-5 if method != "pca" else 1e-4  # it rotates the queries there and back
        torch.testing.assert_close(view.logits(ids), expected, atol=near, rtol=1e-5, msg=f"{name} {method}")


@pytest.mark.parametrize("name", INSIDE)
@torch.inference_mode()
def test_scores_in_all_dimensions_choose_the_exact_best_keys(models, name):
    """A basis of all dimensions only rotates: a wrong head, group or scale would choose other keys."""
    model, ids = model_of(models, name), tokens(length=14)
    view = view_of(model)
    switch_on(view, random_basis(model), 1, 0.5, "exact")
    expected = view.logits(ids)
    switch_on(view, random_basis(model), 1, 0.5)
    torch.testing.assert_close(view.logits(ids), expected, atol=1e-5, rtol=1e-5, msg=name)


@pytest.mark.parametrize("name", INSIDE)
@torch.inference_mode()
def test_cached_decoding_chooses_the_same_keys(models, name):
    model, ids = model_of(models, name), tokens(length=14)
    dense = model(input_ids=ids, use_cache=False).logits
    cases = [("loki", "a0,b2"), ("loki", "")]
    if name == "llama":
        cases += [("exact", ""), ("last", ""), ("pca", "")]
    for method, plan in cases:
        view = view_of(model, plan)
        switch_on(view, random_basis(model), 0.5, 0.5, method)
        full, cache = view.logits(ids), view.cache()
        steps = [view.logits(ids[:, :5], cache)] + [view.logits(ids[:, i : i + 1], cache) for i in range(5, 14)]
        torch.testing.assert_close(torch.cat(steps, 1), full, atol=5e-5, rtol=1e-5, msg=f"{name} {method} {plan}")
        assert not torch.allclose(full, dense, atol=1e-3), f"{name} {method} changed nothing"
        assert full.isfinite().all()


@pytest.mark.parametrize("name", INSIDE)
@torch.inference_mode()
def test_every_row_attends_to_so_many_keys_and_to_none_it_may_not_see(models, name):
    """The weights that the family's own attention hands back say which keys it attended to."""
    model, ids = model_of(models, name), tokens(length=14)
    view = view_of(model)
    choice = {i: KeyChoice(LowRank(0.5, 0.5), basis=rows) for i, rows in random_basis(model).items()}
    seen = {}

    def spied(layer):
        def rule(attend, query, key, value, mask):
            output, weights = choice[layer](attend, query, key, value, mask)
            seen[layer] = weights > 0
            return output, weights

        return rule

    attend_by(view, {i: spied(i) for i in view.attentions})
    view.logits(ids)
    windows = getattr(model.config, "layer_types", None)
    for layer, attended in seen.items():
        sliding = name == "mistral" or (windows is not None and windows[layer] == "sliding_attention")
        there = torch.arange(1, 15).clamp_max(6 if sliding else 14)
        assert torch.equal(attended.sum(-1), (there // 2).clamp_min(1).expand(attended.shape[:3])), f"{name} {layer}"
        age = torch.arange(14)[:, None] - torch.arange(14)
        assert not (attended & ((age < 0) | (age >= (6 if sliding else 14)))).any()


@pytest.mark.parametrize("name", sorted(LATENT | OUTSIDE))
def test_what_cannot_be_replaced_is_refused_by_name(models, name):
    model = model_of(models, name)
    with pytest.raises(Refusal, match="latent" if name in LATENT else "does not go through") as refused:
        switch_on(view_of(model), {i: torch.eye(8)[None] for i in range(5)}, 0.5, 0.5)
    assert f"of {model.config.model_type} " in str(refused.value)


@pytest.mark.parametrize("name", ["llama", "gpt_oss"])
@torch.inference_mode()
def test_half_precision(name):
    model, ids = tiny_model(name).bfloat16(), tokens(length=14)
    view = view_of(model)
    switch_on(view, random_basis(model), 1, 1)
    eager = copy.deepcopy(model)
    eager.set_attn_implementation("eager")
    torch.testing.assert_close(view.logits(ids), eager(input_ids=ids, use_cache=False).logits)
    switch_on(view, random_basis(model), 0.5, 0.5)
    assert view.logits(ids).isfinite().all()


@torch.inference_mode()
def test_a_plan_switches_it_on(models):
    model, ids = model_of(models, "llama"), tokens()
    basis = {i: rows for i, rows in random_basis(model).items() if i != 1}
    pieces = {"keys": {str(i): {"basis": rows.numpy()} for i, rows in basis.items()}}
    by_plan = cut(subject_of(model), Calibrated(parse("a1,k:0.5/0.25"), pieces))
    by_hand = view_of(model, "a1")
    switch_on(by_hand, basis, 0.5, 0.25)
    assert torch.equal(by_plan.logits(ids), by_hand.logits(ids))
    assert not torch.equal(by_plan.logits(ids), view_of(model, "a1").logits(ids))


# Views do not meet


@torch.inference_mode()
def test_the_dense_model_never_notices(models):
    for name in ("llama", "gemma2", "gpt2"):
        model, ids = model_of(models, name), tokens()
        before, config = model(input_ids=ids, use_cache=False).logits, model.config.to_dict()
        implementation = model.config._attn_implementation
        view = view_of(model)
        switch_on(view, random_basis(model), 0.25, 0.25)
        assert not torch.equal(view.logits(ids), before)
        assert torch.equal(model(input_ids=ids, use_cache=False).logits, before)
        assert model.config._attn_implementation == implementation and model.config.to_dict() == config
        assert not any(hasattr(module, "attention_rule") for module in model.modules())
        theirs = {id(module.config) for module in model.modules() if hasattr(module, "config")}
        assert not theirs & {id(module.config) for module in view.model.modules() if hasattr(module, "config")}
        assert torch.equal(view_of(model).logits(ids), before)


def test_views_in_threads_do_not_meet(models):
    model, ids = model_of(models, "llama"), tokens()
    settings = [(0.25, 0.25, "loki"), (1.0, 0.5, "loki"), (0.5, 1.0, "pca"), (1.0, 0.3, "last"), (1.0, 1.0, "exact")]
    views = [view_of(model) for _ in settings]
    for view, setting in zip(views, settings, strict=True):
        switch_on(view, random_basis(model), *setting)
    alone = [view.logits(ids) for view in views]
    wrong = []

    def run(place):
        wrong.extend((place, i) for i in range(8) if not torch.equal(views[place].logits(ids), alone[place]))

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(views))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len({tuple(logits[0, -1, :5].tolist()) for logits in alone}) == len(alone)


def test_the_rule_can_be_replaced_and_random_is_seeded(models):
    model, ids = model_of(models, "llama"), tokens()
    view, basis = view_of(model), random_basis(model)

    def logits(seed):
        switch_on(view, basis, 1, 0.4, "random", seeds=[seed])
        return view.logits(ids)

    first = logits(3)
    assert torch.equal(first, logits(3)) and not torch.equal(first, logits(4))
    switch_on(view, basis, 1, 1)
    torch.testing.assert_close(view.logits(ids), model(input_ids=ids).logits, atol=1e-5, rtol=0)


# What is refused


@pytest.mark.parametrize(("dims", "top"), [(0, 0.5), (0.5, 0), (1.5, 0.5), (0.5, 1.1), (-1, 0.5), (0.5, float("nan"))])
def test_shares_outside_the_range_are_refused(models, dims, top):
    with pytest.raises(Refusal, match="not valid"):
        switch_on(view_of(model_of(models, "llama")), {}, dims, top)


def test_a_basis_that_does_not_fit_is_refused(models):
    model = model_of(models, "llama")
    with pytest.raises(Refusal, match="layer 4 are missing"):
        switch_on(view_of(model), {i: rows for i, rows in random_basis(model).items() if i < 4}, 0.5, 0.5)
    for shape in ((1, 8, 8), (2, 4, 4)):  # either would broadcast, or lose dimensions, without a word
        for method in ("loki", "pca"):
            view = view_of(model)
            switch_on(view, dict.fromkeys(range(5), torch.ones(shape)), 0.5, 0.5, method)
            with pytest.raises(Refusal, match="2 key heads of 8 dimensions"):
                view.logits(tokens())
    with pytest.raises(Refusal, match=", ".join(METHODS)):
        switch_on(view_of(model), {}, 0.5, 0.5, "best")


@torch.inference_mode()
def test_counting_all_keys_as_the_reference_does(models):
    """Then every row of the first half attends to all it sees, and equals dense attention."""
    model, ids = model_of(models, "llama"), tokens(length=12)
    view = view_of(model)
    switch_on(view, random_basis(model), 0.5, 0.5, whole=True)
    dense, found = view_of(model).logits(ids), view.logits(ids)
    torch.testing.assert_close(found[:, :6], dense[:, :6], atol=1e-5, rtol=0)
    assert not torch.allclose(found[:, 7:], dense[:, 7:], atol=1e-2)
