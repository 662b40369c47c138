"""A view must equal the dense model whose output projections are zero, exactly, in every family."""

import copy
import re
import threading

import pytest
import torch

from models.families import KNOWN, family_of
from models.stream import check_stream
from plans.cut import cut
from plans.drops import Drops, dropped
from plans.plan import Plan, parse
from refusal import Refusal
from tests.models.tiny import LAYERS, TINY, tiny_model, tokens
from tests.probes.subjects import subject_of

PLANS = ["a0", "a0,a2", "m1,m3", "m0", "b0", "b1-2", "b4", "a0,m2,b3", "a0,a1,a2,a3,a4", "m0,m1,m2,m3,m4", "b0-4"]
# Written from the modelling files and not from the table, so that a wrong row of the table shows.
_ATTENTION_OUT = re.compile(r"\.(\d+)\.(?:self_attn|attn|attention|self_attention)\.(?:o_proj|out_proj|dense|c_proj)\.")
_MLP_OUT = re.compile(
    r"\.(\d+)\.(?:(?:mlp|ffn|block_sparse_moe)\..*(?:down_proj|c_proj|dense_4h_to_h|fc2|output_linear)|fc2)|"
    r"\.(\d+)\.mlp\.dense\."
)


def zeroed(model, plan):
    """The dense model with the output projections of all dropped sublayers set to zero."""
    model = copy.deepcopy(model)
    drops, hit = dropped(plan), set()
    for name, weight in model.named_parameters():
        for pattern, gone in ((_ATTENTION_OUT, drops.no_attention), (_MLP_OUT, drops.no_mlp)):
            match = pattern.search(name)
            if match and int(match[1] or match[2]) in gone:
                weight.data.zero_()
                hit.add((pattern, int(match[1] or match[2])))
    assert len(hit) == len(drops.no_attention) + len(drops.no_mlp), "the oracle missed a projection"
    return model


@pytest.fixture(scope="module")
def models():
    return {}


def model_of(models, name):
    if name not in models:
        models[name] = tiny_model(name)
    return models[name]


@pytest.mark.parametrize("name", TINY)
@torch.inference_mode()
def test_a_view_equals_zeroing_exactly(models, name):
    model, ids = model_of(models, name), tokens()
    dense = model(input_ids=ids, use_cache=False).logits
    assert torch.equal(cut(subject_of(model)).logits(ids), dense)
    for text in PLANS:
        plan = parse(text)
        expected = zeroed(model, plan)(input_ids=ids, use_cache=False).logits
        found = cut(subject_of(model), plan).logits(ids)
        assert torch.equal(found, expected), f"{name} {text}: {(found - expected).abs().max()}"
        assert not torch.equal(found, dense), f"{name} {text} changed nothing"
    assert torch.equal(model(input_ids=ids, use_cache=False).logits, dense), "the dense model was touched"


@pytest.mark.parametrize("name", TINY)
def test_cached_decoding_equals_the_full_forward(models, name):
    model, ids = model_of(models, name), tokens(length=14)
    for text in ["", *PLANS]:
        view = cut(subject_of(model), parse(text))
        cache = view.cache()
        if cache is None:
            assert not view.attentions
            continue
        steps = [view.logits(ids[:, :5], cache)] + [view.logits(ids[:, i : i + 1], cache) for i in range(5, 14)]
        assert len(cache.layers) == len(view.attentions)
        assert cache.get_seq_length() == 14
        torch.testing.assert_close(torch.cat(steps, 1), view.logits(ids), atol=5e-5, rtol=0, msg=f"{name} {text}")


@pytest.mark.parametrize("name", TINY)
def test_every_block_is_its_input_plus_two_addends(models, name):
    model = model_of(models, name)
    assert check_stream(cut(subject_of(model)), tokens()) < 1e-5


def test_the_self_check_catches_a_wrong_row(models):
    from dataclasses import replace

    subject = subject_of(model_of(models, "gemma2"))
    family = subject.family
    wrong = replace(family, attention=replace(family.attention, addend=""))  # the raw attention, as LLM-Drop adds it
    with pytest.raises(Refusal, match="do not add up"):
        check_stream(cut(replace(subject, family=wrong)), tokens())


def test_weights_are_shared_and_nothing_else(models):
    model = model_of(models, "llama")
    view = cut(subject_of(model), Plan((Drops(attention=frozenset({0})),)))
    dense = {id(weight) for weight in model.parameters()}
    assert all(id(weight) in dense for weight in view.model.parameters())
    assert view.model is not model and view.model.config is not model.config
    assert not any(module._forward_hooks for module in model.modules())


def test_a_sliding_family_keeps_its_masks(models):
    model = model_of(models, "gemma2")
    view = cut(subject_of(model), parse("b0"))
    assert view.model.config.layer_types == model.config.layer_types[1:]
    assert view.model.config.num_hidden_layers == LAYERS - 1
    # Layer 0 was sliding: with its attention gone the first cache layer must be the full one of layer 1.
    cache = cut(subject_of(model), parse("a0")).cache()
    assert [layer.is_sliding for layer in cache.layers] == [False, True, False, True]


def test_many_threads_with_many_plans_on_one_model(models):
    model, ids = model_of(models, "llama"), tokens()
    expected = {text: cut(subject_of(model), parse(text)).logits(ids) for text in ("", "a0,a2", "m1,b3", "b0-1")}
    wrong: list[str] = []

    def ask(text):
        for _ in range(10):
            if not torch.equal(cut(subject_of(model), parse(text)).logits(ids), expected[text]):
                wrong.append(text)

    threads = [threading.Thread(target=ask, args=(text,)) for text in expected for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(threads) == 8 and not wrong


@pytest.mark.parametrize("place", ["cpu", "disk"])
def test_an_offloaded_model_can_be_cut(tmp_path, place):
    from accelerate import cpu_offload, disk_offload

    model, ids = tiny_model("llama"), tokens()
    plan = parse("a0,m1,b3")
    expected = cut(subject_of(model), plan).logits(ids)
    if place == "cpu":
        cpu_offload(model, execution_device=torch.device("cpu"))
    else:
        disk_offload(model, str(tmp_path), execution_device=torch.device("cpu"))
    for _ in range(2):  # the second time proves that the first left the weights where they were
        assert torch.equal(cut(subject_of(model), plan).logits(ids), expected)


def test_an_unknown_architecture_is_refused_by_name():
    from transformers import AutoConfig

    with pytest.raises(Refusal, match=r"'mamba'.*llama") as caught:
        family_of(AutoConfig.for_model("mamba"))
    assert all(name in str(caught.value) for name in KNOWN)


def test_every_row_of_the_table_is_tried():
    assert set(KNOWN) == {model_type for model_type, _ in TINY.values()}


def test_variants_that_are_not_understood_are_refused():
    from transformers import AutoConfig

    with pytest.raises(Refusal, match="normalises after"):
        family_of(AutoConfig.for_model("opt", do_layer_norm_before=False))
    with pytest.raises(Refusal, match="after the norm"):
        family_of(AutoConfig.for_model("bloom", apply_residual_connection_post_layernorm=True))


def test_a_layer_that_is_not_there_is_refused(models):
    model = model_of(models, "llama")
    with pytest.raises(Refusal, match="layer 99, but this model has layers 0 to 4"):
        cut(subject_of(model), parse("a99"))


def test_only_the_last_position_goes_through_the_head():
    """The head is as much work as several layers; transformers hides the parameter that saves it behind a decorator."""
    seen = []
    view = cut(subject_of(tiny_model("llama")))
    view.head.register_forward_hook(lambda module, args, out: seen.append(args[0].shape[1]))
    whole = view.logits(tokens())
    assert torch.allclose(view.logits(tokens(), last=True), whole[:, -1:], atol=1e-6)
    assert seen == [12, 1]
