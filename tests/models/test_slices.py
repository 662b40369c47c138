"""Slices of a deeper model: opened on its skeleton, with what is missing shown as dropped."""

import json
import re

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from models.loading.gaps import gaps_in
from models.loading.identity import identify
from models.loading.load import load
from models.loading.slices import RECORD, kept_blocks, renamed
from models.subject import ModelRef
from plans.cut import cut
from plans.drops import dropped
from plans.export.export import understood
from plans.export.opened import missing
from plans.export.registry import FORMATS
from plans.plan import parse
from refusal import Refusal, silent
from tests.models.tiny import tokens
from tests.plans.export.exporting import order_of, saved

IDS = tokens(1, 9)


def opened(folder):
    return load(ModelRef(str(folder), device="cpu"))


def record(folder, plan, layers=5):
    gone = sorted(dropped(parse(plan)).blocks)
    said = {"format": "removed", "layers": layers, "drop_attention": gone, "drop_mlp": gone}
    (folder / RECORD).write_text(json.dumps(said))


def merged(folder, ranges, method="passthrough", models=("dense",)):
    """What mergekit writes beside a slice."""
    slices = [{"sources": [{"model": models[i % len(models)], "layer_range": list(each)}]} for i, each in enumerate(ranges)]
    (folder / "mergekit_config.yml").write_text(yaml.safe_dump({"slices": slices, "merge_method": method}))


def sliced(tmp_path, name, plan):
    """The dense folder, and one without some blocks, as our own format and mergekit write it."""
    folder, out = saved(tmp_path / "model", name), tmp_path / "out"
    out.mkdir()
    FORMATS["removed"].write(understood(order_of(folder, plan, "removed")), out, silent)
    for each in ("tokenizer.json", "tokenizer_config.json"):
        (out / each).write_bytes((folder / each).read_bytes())
    return folder, out


@pytest.mark.parametrize("plan", ["b1", "b0,b3", "b2-3", "b0-3"])
@pytest.mark.parametrize("name", ["llama", "gemma3_text", "gpt2", "olmo2", "bloom", "qwen3_moe"])
def test_a_slice_says_what_the_deep_model_with_that_plan_says(tmp_path, name, plan):
    folder, out = sliced(tmp_path, name, plan)
    plain = opened(out)
    assert plain.layers < 5
    record(out, plan)
    subject = opened(out)
    live = cut(opened(folder), parse(plan)).logits(IDS)
    assert subject.layers == 5 and str(missing(subject.ref)) == plan and subject.fingerprint != plain.fingerprint
    assert torch.equal(cut(subject, parse(plan)).logits(IDS), live) and torch.equal(cut(subject).logits(IDS), live)


def test_what_mergekit_says_is_understood(tmp_path):
    folder, out = sliced(tmp_path, "llama", "b1-2")
    merged(out, [(0, 1), (3, 5)])
    subject = opened(out)
    assert subject.layers == 5 and str(missing(subject.ref)) == "b1-2"
    assert torch.equal(cut(subject).logits(IDS), cut(opened(folder), parse("b1-2")).logits(IDS))


def test_the_blocks_after_the_last_one_are_unknown(tmp_path):
    _, out = sliced(tmp_path, "llama", "b3-4")
    merged(out, [(0, 3)])
    assert opened(out).layers == 3 and gaps_in(out) is None


@pytest.mark.parametrize(
    "given",
    [
        {"ranges": [(0, 3), (2, 4)]},  # a block twice: a self-merge, not a slice
        {"ranges": [(0, 1), (3, 5)], "method": "linear"},
        {"ranges": [(0, 1), (3, 5)], "models": ("one", "other")},
        {"ranges": [(0, 1), (4, 5)]},  # not as many blocks as there are
    ],
)
def test_what_is_no_slice_is_opened_as_it_is(tmp_path, given):
    _, out = sliced(tmp_path, "llama", "b1-2")
    merged(out, **given)
    assert opened(out).layers == 3


@pytest.mark.parametrize(
    "text", ["", "[", "slices: 3", '{"format": "removed"}', "slices: [{sources: []}]\nmerge_method: passthrough"]
)
@pytest.mark.parametrize("name", [RECORD, "mergekit_config.yml"])
def test_a_file_that_cannot_be_read_says_nothing(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert kept_blocks(tmp_path) is None


def test_what_is_said_of_the_blocks_is_part_of_the_model(tmp_path):
    _, out = sliced(tmp_path, "llama", "b1")
    ref = ModelRef(str(out), device="cpu")
    before = identify(ref)
    merged(out, [(0, 1), (2, 5)])
    assert identify(ref) != before


def test_a_slice_with_a_weight_too_many_is_refused(tmp_path):
    _, out = sliced(tmp_path, "llama", "b1")
    merged(out, [(0, 1), (2, 5)])
    weights = load_file(out / "model.safetensors")
    save_file(weights | {"model.layers.4.self_attn.q_proj.weight": torch.zeros(2, 2)}, out / "model.safetensors")
    with pytest.raises(Refusal, match="the model has 4 blocks"):
        opened(out)


def test_it_is_exported_from_the_deep_model(tmp_path):
    _, out = sliced(tmp_path, "llama", "b1")
    record(out, "b1")
    with pytest.raises(Refusal, match="Export from that model, with the plan a3,b1"):
        understood(order_of(out, "a3", "llm-drop"))


def test_renamings_never_meet():
    """Each rule is applied after the one before it, to what that one made."""
    rules = renamed("layers", (1, 2, 4, 8))
    for i, dense in enumerate((1, 2, 4, 8)):
        name = f"model.layers.{i}.mlp.up_proj.weight"
        for pattern, new in rules.items():
            name = re.sub(pattern, new, name)
        assert name == f"model.layers.{dense}.mlp.up_proj.weight"
