"""What is written says what the live view says, in every family; read in this process, which is quicker."""

import json

import pytest
import torch
from safetensors import safe_open

from models.loading.load import load
from plans.cut import Calibrated, cut
from plans.export.export import understood
from plans.export.registry import FORMATS, refuse_unfit
from plans.export.reread import logarithms, said
from plans.learn import calibrate
from refusal import Refusal, silent
from tests.models.tiny import TINY, tokens
from tests.plans.export.exporting import order_of, saved

READERS = {"removed": "stock", "zeroed": "stock", "noop": "gaps", "llm-drop": "gaps"}
IDS = tokens(2, 12)
SCALED = "gpt2-scaled"  # attention depends on the number of the layer


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folders of tiny models by name, each made once."""
    made = {}

    def folder(name, **more):
        key = name, *more.items()
        if key not in made:
            made[key] = saved(tmp_path_factory.mktemp(name) / "model", name, **more)
        return made[key]

    return folder


def both(folder, plan, form, target, dtype="auto"):
    """Log-probabilities of what a format writes, and of the live view."""
    order = order_of(folder, plan, form, dtype=dtype)
    checkpoint = understood(order)
    refuse_unfit(FORMATS[form], checkpoint)
    subject = load(order.ref)
    learned = calibrate(subject, order.plan, tokens(2, 9)) if order.plan.learning else Calibrated(order.plan)
    ready = checkpoint.__class__(
        checkpoint.source, checkpoint.config, checkpoint.family, order.plan, learned.learned, subject.dtype
    )
    target.mkdir()
    FORMATS[form].write(ready, target, silent)
    view = cut(subject, learned)
    return said(READERS[form], target, IDS, subject.dtype, "cpu"), torch.cat(
        [logarithms(view.logits(row[None])) for row in IDS]
    )


@pytest.mark.parametrize("form, plan", [("removed", "b0,b3"), ("removed", "b2,w:magnitude@0.5"), ("zeroed", "a0,m2,b3")])
@pytest.mark.parametrize("name", TINY)
def test_every_family(folders, tmp_path, name, form, plan):
    if name == SCALED and form == "removed":
        with pytest.raises(Refusal, match=r"scales attention by the number of its layer.*Formats that can express it: zeroed"):
            both(folders(name), plan, form, tmp_path / "out")
        return
    found, live = both(folders(name), plan, form, tmp_path / "out")
    torch.testing.assert_close(found, live, atol=1e-5, rtol=0)  # most are equal to the bit


@pytest.mark.parametrize("plan", ["a3", "m0", "a1,m2,b3", "b0", "b0,m3", "a2,w:wanda@2:4", "b4,w:sparsegpt@0.5/mlp"])
@pytest.mark.parametrize("form", ["noop", "llm-drop"])
@pytest.mark.parametrize("name", ["llama", "mistral"])
def test_gaps(folders, tmp_path, name, form, plan):
    more = {"sliding_window": None} if name == "mistral" else {}
    found, live = both(folders(name, **more), plan, form, tmp_path / "out")
    assert torch.equal(found, live)


def names_in(folder):
    """Names of all tensors."""
    found = set()
    for file in folder.glob("*.safetensors"):
        with safe_open(file, framework="pt") as opened:
            found |= set(opened.keys())
    return found


def config_of(folder):
    return json.loads((folder / "config.json").read_text())


def test_what_is_dropped_is_not_written(folders, tmp_path):
    both(folders("llama"), "a1,m2,b3", "noop", tmp_path / "noop")
    names = names_in(tmp_path / "noop")
    assert not [name for name in names if ".1.self_attn" in name or ".1.input_layernorm" in name or ".layers.3." in name]
    assert not [name for name in names if ".2.mlp" in name or ".2.post_attention_layernorm" in name]
    assert {"model.layers.1.mlp.up_proj.weight", "model.layers.2.self_attn.q_proj.weight"} <= names


def test_every_list_by_layer_is_cut(folders, tmp_path):
    both(folders("smollm3"), "b0,b3", "removed", tmp_path / "rope")
    config = config_of(tmp_path / "rope")
    assert (config["num_hidden_layers"], config["no_rope_layers"]) == (3, [1, 0, 0]) and len(config["layer_types"]) == 3
    both(folders("gemma2"), "b0", "removed", tmp_path / "sliding")
    assert config_of(tmp_path / "sliding")["layer_types"] == ["full_attention", "sliding_attention"] * 2


@pytest.mark.parametrize("name, more", [("qwen2", {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 2})])
def test_lists_that_a_config_only_derives_are_spelled_out(tmp_path, name, more):
    folder = saved(tmp_path / "model", name, **more)
    config = config_of(folder)
    del config["layer_types"]
    (folder / "config.json").write_text(json.dumps(config))
    found, live = both(folder, "b0", "removed", tmp_path / "out")
    assert torch.equal(found, live)
    assert config_of(tmp_path / "out")["layer_types"] == ["full_attention"] + ["sliding_attention"] * 3


@pytest.mark.parametrize("name", ["qwen2_moe", "qwen3_moe"])
@pytest.mark.parametrize("more", [{"decoder_sparse_step": 2}, {"mlp_only_layers": [1, 3]}])
def test_dense_layers_among_experts_keep_their_place(tmp_path, name, more):
    folder = saved(tmp_path / "model", name, **more)
    found, live = both(folder, "b0", "removed", tmp_path / "out")
    assert torch.equal(found, live)


@pytest.mark.parametrize("name", ["mixtral", "granitemoe", "gpt_oss", "qwen2_moe"])
@pytest.mark.parametrize("plan", ["w:sparsegpt@0.5", "w:wanda@0.5/mlp"])
def test_pruned_experts(folders, tmp_path, name, plan):
    found, live = both(folders(name), plan, "removed", tmp_path / "out")
    assert torch.equal(found, live)


def test_a_width_that_decilm_rounds_is_told_as_a_width(folders, tmp_path):
    both(folders("llama"), "a1", "noop", tmp_path / "odd")
    kept, gone = (config_of(tmp_path / "odd")["block_configs"][i] for i in (0, 1))
    assert kept["ffn"] == {"intermediate_size": 48, "no_op": False, "replace_with_linear": False}
    assert gone["attention"] == {"n_heads_in_group": None, "no_op": True, "replace_with_linear": False}
    found, live = both(saved(tmp_path / "even", "llama", intermediate_size=256), "a1", "noop", tmp_path / "out")
    assert config_of(tmp_path / "out")["block_configs"][0]["ffn"]["ffn_mult"] == 12.0 and torch.equal(found, live)


def test_older_code_finds_the_rotary_base(folders, tmp_path):
    """LLM-Drop and vLLM's DeciLM read ``rope_theta``; without it they take 10000 and say nothing."""
    folder = saved(tmp_path / "model", "llama", rope_parameters={"rope_type": "default", "rope_theta": 5e5})
    for form in ("noop", "llm-drop"):
        both(folder, "a1", form, tmp_path / form)
        assert config_of(tmp_path / form)["rope_theta"] == 5e5


def test_lists_are_indices(folders, tmp_path):
    both(folders("mistral", sliding_window=None), "a1,m2,b3", "llm-drop", tmp_path / "out")
    config = config_of(tmp_path / "out")
    assert (config["drop_attn_list"], config["drop_mlp_list"]) == ([1, 3], [2, 3])
    assert config["auto_map"]["AutoConfig"] == "configuration_dropped_mistral.MistralConfig"
    assert config["num_hidden_layers"] == 5 and config["model_type"] == "mistral"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_head_that_is_tied_stays_tied(tmp_path, dtype):
    folder = saved(tmp_path / "model", "llama", tie_word_embeddings=True)
    found, live = both(folder, "b1", "removed", tmp_path / "out", dtype)
    assert torch.equal(found, live) and "lm_head.weight" not in names_in(tmp_path / "out")
