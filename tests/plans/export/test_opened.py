"""Checkpoints that lack sublayers, opened again: a dense model with gaps, which are shown as a plan that drops them."""

import json

import pytest
import torch

from models.anatomy import anatomy
from models.loading.gaps import gaps_of
from models.loading.load import load
from models.subject import ModelRef
from plans.cut import cut
from plans.export.export import understood
from plans.export.opened import missing
from plans.export.registry import FORMATS, fitting
from plans.plan import parse
from refusal import Refusal, silent
from tests.models.tiny import tokens
from tests.plans.export.exporting import order_of, saved

IDS = tokens(1, 9)


def opened(folder):
    return load(ModelRef(str(folder), device="cpu"))


def written(folder, plan, form, target):
    """A folder as a format writes it, with the tokenizer of the dense one."""
    target.mkdir()
    checkpoint = understood(order_of(folder, plan, form))
    FORMATS[form].write(checkpoint, target, silent)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (target / name).write_bytes((folder / name).read_bytes())
    return target


def decoded(view):
    """Logits with a cache, token by token."""
    cache = view.cache()
    return torch.cat([view.logits(IDS[:, i : i + 1], cache) for i in range(IDS.shape[1])], 1)


@pytest.mark.parametrize("plan", ["a1,m2,b3", "m0", "a2,b0"])
@pytest.mark.parametrize("name, form", [("llama", "noop"), ("llama", "llm-drop"), ("mistral", "llm-drop")])
def test_what_was_exported_opens_as_the_same_plan_with_the_same_logits(tmp_path, name, form, plan):
    folder = saved(tmp_path / "model", name)
    if form == "noop" and plan == "a2,b0":
        plan = "a3,b0"
    live = cut(opened(folder), parse(plan)).logits(IDS)
    subject = opened(written(folder, plan, form, tmp_path / "out"))
    view = cut(subject)
    assert str(missing(subject.ref)) == plan
    assert torch.equal(view.logits(IDS), live) and torch.equal(cut(subject, parse(plan)).logits(IDS), live)
    torch.testing.assert_close(decoded(view), live, atol=5e-5, rtol=1e-5)
    assert subject.family.name == name and subject.layers == 5


@pytest.mark.parametrize("there, back", [("noop", "llm-drop"), ("llm-drop", "noop")])
def test_it_can_be_exported_again(tmp_path, there, back):
    folder = saved(tmp_path / "model", "llama")
    once = written(folder, "a1,m2", there, tmp_path / "once")
    twice = written(once, "b3", back, tmp_path / "twice")
    assert str(missing(ModelRef(str(twice)))) == "a1,m2,b3"
    assert torch.equal(cut(opened(twice)).logits(IDS), cut(opened(folder), parse("a1,m2,b3")).logits(IDS))
    assert fitting(understood(order_of(once, "b3", back))) == ["noop", "llm-drop"]


def test_all_attention_may_be_missing(tmp_path):
    folder = saved(tmp_path / "model", "llama")
    subject = opened(written(folder, "a0,a1,a2,a3,a4", "llm-drop", tmp_path / "out"))
    assert cut(subject).cache() is None and anatomy(subject).cache_bytes == 0
    assert torch.equal(cut(subject).logits(IDS), cut(opened(folder), parse("a0,a1,a2,a3,a4")).logits(IDS))


def test_what_is_missing_has_no_parameters_and_no_cache(tmp_path):
    subject = opened(written(saved(tmp_path / "model", "llama"), "a1,m2", "noop", tmp_path / "out"))
    parts = {(part.layer, part.kind): part for part in anatomy(subject).parts}
    assert parts[1, "attention"].parameters == parts[1, "attention"].cache_bytes == parts[2, "mlp"].parameters == 0
    assert parts[2, "attention"].cache_bytes > 0 and parts[1, "mlp"].parameters > 0


def test_more_can_be_dropped_from_it(tmp_path):
    folder = saved(tmp_path / "model", "llama")
    subject = opened(written(folder, "a1", "noop", tmp_path / "out"))
    assert torch.equal(cut(subject, parse("a3,b4")).logits(IDS), cut(opened(folder), parse("a1,a3,b4")).logits(IDS))


def test_weights_that_are_missing_for_no_reason_are_told(tmp_path):
    out = written(saved(tmp_path / "model", "llama"), "a1", "llm-drop", tmp_path / "out")
    config = json.loads((out / "config.json").read_text()) | {"drop_attn_list": [2]}
    (out / "config.json").write_text(json.dumps(config))
    with pytest.raises(Refusal, match=r"missing \(first: model\.layers\.1"):
        opened(out)


LISTS = {"num_hidden_layers": 3, "model_type": "llama"}


@pytest.mark.parametrize(
    "given, found",
    [([0, 2], {0, 2}), ([], set()), (None, set()), ([False, True, False], {1}), ([0, 1, 1], {0, 1}), ([False] * 3, set())],
)
def test_lists_of_indices_or_of_booleans(given, found):
    assert gaps_of(LISTS | {"drop_attn_list": given}).attention == found


@pytest.mark.parametrize("given", [[3], [-1], [True, False], [True, 0, 2], "0", [0.0], [None]])
def test_lists_that_cannot_be_read(given):
    with pytest.raises(Refusal, match=r"drop_mlp_list in config\.json must list layer indices from 0 to 2"):
        gaps_of(LISTS | {"drop_mlp_list": given})


def decilm(**more):
    """The config of a DeciLM of three layers."""
    kept = {"attention": {"n_heads_in_group": 2, "no_op": False}, "ffn": {"ffn_mult": 12.0, "no_op": False}}
    gone = {"attention": {"n_heads_in_group": None, "no_op": True}, "ffn": {"ffn_mult": None, "no_op": True}}
    blocks = [kept, {**kept, "attention": gone["attention"]}, gone]
    return {"model_type": "nemotron-nas", "hidden_size": 32, "num_attention_heads": 4, "block_configs": blocks} | more


def test_a_decilm_is_a_llama_with_gaps():
    found = gaps_of(decilm())
    assert (found.attention, found.mlp) == ({1, 2}, {2})
    assert found.config["model_type"] == "llama" and found.config["num_key_value_heads"] == 2
    assert found.config["intermediate_size"] == 256 and found.config["num_hidden_layers"] == 3


@pytest.mark.parametrize(
    "place, part, values, says",
    [
        (0, "attention", {"n_heads_in_group": 4}, "differ in heads or width"),
        (1, "ffn", {"ffn_mult": 24.0}, "differ in heads or width"),
        (1, "ffn", {"replace_with_linear": True}, "a linear map in the place"),
        (0, "ffn", {"no_op": None, "ffn_mult": "x"}, "cannot be read"),
    ],
)
def test_a_decilm_of_other_shapes_is_told(place, part, values, says):
    config = json.loads(json.dumps(decilm()))
    config["block_configs"][place][part] |= values
    if part == "attention":
        config["block_configs"][1]["attention"] = {"n_heads_in_group": 2, "no_op": False}
    with pytest.raises(Refusal, match=says):
        gaps_of(config)


def test_a_whole_model_has_no_gaps():
    assert gaps_of({"model_type": "llama", "num_hidden_layers": 3}) is None


def test_the_config_class_that_travels_reads_its_folder(tmp_path):
    """As vLLM does it: attributes of attributes, and config.json again what it was."""
    from plans.export.configuration_decilm import DeciLMConfig

    out = written(saved(tmp_path / "model", "llama"), "a1,m2", "noop", tmp_path / "out")
    config = DeciLMConfig.from_pretrained(out)
    assert config.block_configs[1].attention.no_op and not config.block_configs[1].ffn.no_op
    assert config.num_attention_heads // config.block_configs[0].attention.n_heads_in_group == 2
    assert not hasattr(config.block_configs[0].ffn, "ffn_mult") and config.block_configs[0].ffn.intermediate_size == 48
    config.save_pretrained(tmp_path / "again")
    again = json.loads((tmp_path / "again" / "config.json").read_text())
    assert again["block_configs"] == json.loads((out / "config.json").read_text())["block_configs"]
    assert again["model_type"] == "nemotron-nas"
