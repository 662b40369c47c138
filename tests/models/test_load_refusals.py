"""Every way in which a model must be refused."""

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from models.loading import identity
from models.loading.load import identify, load
from models.subject import ModelRef
from plans.cut import cut
from plans.plan import parse
from refusal import Refusal
from tests.models.leases import spoilt


@pytest.mark.parametrize(
    "options, says",
    [
        ({"dtype": "int4"}, "no dtype 'int4'"),
        ({"device": "tpu"}, "no device 'tpu'"),
        ({"name": "/no/such/folder"}, "no folder or GGUF file"),
        ({"name": "weights.gguf"}, "no folder or GGUF file"),
        ({"name": " "}, "No model was named"),
        ({"name": "two words/model"}, "neither a folder here nor a hub id"),
        ({"name": __file__}, "is not a model"),
    ],
)
def test_no_such_model(options, says):
    with pytest.raises(Refusal, match=says):
        load(ModelRef(**options))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_no_cuda(tiny_folder):
    with pytest.raises(Refusal, match="no CUDA device here"):
        load(ModelRef(str(tiny_folder), device="cuda"))


def test_folder_without_config(tmp_path):
    with pytest.raises(Refusal, match=r"no config\.json"):
        load(ModelRef(str(tmp_path)))


@pytest.mark.parametrize(
    "values, says",
    [
        ({"model_type": "bert", "architectures": ["BertForMaskedLM"]}, "is an encoder"),
        ({"model_type": "t5", "is_encoder_decoder": True}, "is an encoder"),
        ({"model_type": "mamba", "architectures": ["MambaForCausalLM"]}, "'mamba' is not supported"),
        ({"model_type": "novel"}, "'novel' is not supported"),
        ({"model_type": "novel", "auto_map": {"AutoConfig": "a.B"}}, "comes with its own code"),
        ({"model_type": None}, "does not name a model_type"),
    ],
)
def test_unsupported_config(copy, values, says):
    spoilt(copy, **values)
    with pytest.raises(Refusal, match=says):
        load(ModelRef(str(copy)))


def test_broken_config(copy):
    (copy / "config.json").write_text("{")
    with pytest.raises(Refusal, match="cannot be read as JSON"):
        load(ModelRef(str(copy)))


def test_truncated_weights(copy):
    path = copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(Refusal, match="broken or cut short"):
        load(ModelRef(str(copy)))


def test_missing_shard(copy):
    AutoModelForCausalLM.from_pretrained(copy).save_pretrained(copy, max_shard_size="20KB")
    shards = sorted(copy.glob("model-*.safetensors"))
    (copy / "model.safetensors").unlink(missing_ok=True)
    assert len(shards) > 1 and load(ModelRef(str(copy))).layers == 4
    shards[-1].unlink()
    with pytest.raises(Refusal, match=f"lacks {shards[-1].name}"):
        load(ModelRef(str(copy)))


@pytest.mark.parametrize("wrong", ["missing", "unexpected", "mismatched"])
def test_weights_that_do_not_match(copy, wrong):
    tensors = load_file(copy / "model.safetensors")
    name = "model.layers.2.mlp.up_proj.weight"
    spoilt = {
        "missing": {key: value for key, value in tensors.items() if key != name},
        "unexpected": tensors | {"model.layers.9.mlp.up_proj.weight": torch.zeros(2)},
        "mismatched": tensors | {name: torch.zeros(3, 3)},
    }
    save_file(spoilt[wrong], copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(Refusal, match=f"1 {wrong}"):
        load(ModelRef(str(copy)))


def test_tied_weights_are_not_missing(copy):
    tensors = load_file(copy / "model.safetensors")
    del tensors["lm_head.weight"]
    save_file(tensors, copy / "model.safetensors", {"format": "pt"})
    spoilt(copy, tie_word_embeddings=True)
    assert load(ModelRef(str(copy))).layers == 4


def test_no_tokenizer(copy):
    for file in copy.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(Refusal, match="tokenizer"):
        load(ModelRef(str(copy)))


def test_no_weights(copy):
    (copy / "model.safetensors").unlink()
    with pytest.raises(Refusal, match=r"no model\.safetensors"):
        load(ModelRef(str(copy)))


def test_pickled_weights_only_where_the_operator_says_so(copy, monkeypatch):
    torch.save(load_file(copy / "model.safetensors"), copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    with pytest.raises(Refusal, match=r"pickled.*PRUNESCOPE_TRUST"):
        load(ModelRef(str(copy)))
    monkeypatch.setenv("PRUNESCOPE_TRUST", f"other/model, {copy}")
    assert load(ModelRef(str(copy))).layers == 4


def test_code_of_its_own_only_where_the_operator_says_so(copy, monkeypatch):
    spoilt(copy, model_type="novel", auto_map={"AutoConfig": "novel.NovelConfig"})
    (copy / "novel.py").write_text(
        "from transformers import PreTrainedConfig\nclass NovelConfig(PreTrainedConfig):\n    model_type = 'novel'\n"
    )
    monkeypatch.setenv("PRUNESCOPE_TRUST", str(copy))
    with pytest.raises(Refusal, match="'novel' is not supported"):  # its code ran, and its architecture is not known
        load(ModelRef(str(copy)))


@pytest.mark.parametrize("content", [b"", b"GGUF", b"GGUF" + bytes(40), b"no gguf at all"])
def test_broken_gguf(tmp_path, content):
    (tmp_path / "a.gguf").write_bytes(content)
    with pytest.raises(Refusal, match=r"a\.gguf"):
        load(ModelRef(str(tmp_path / "a.gguf")))


def test_data_directory_that_cannot_be_made(monkeypatch, tmp_path, tiny_folder):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PRUNESCOPE_DATA", str(tmp_path / "file"))
    identity._known.clear()
    with pytest.raises(Refusal, match="Set PRUNESCOPE_DATA"):
        identify(ModelRef(str(tiny_folder)))


def test_a_token_beyond_the_embedding_is_a_sentence_where_it_is_read(tiny_folder, tmp_path):
    """The tokenizer got a token and the model did not: texts without it are answered as before."""
    folder = shutil.copytree(tiny_folder, tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = len(tokenizer)
    tokenizer.add_tokens(["<far>"])
    tokenizer.save_pretrained(folder)
    subject, plain = load(ModelRef(str(folder), device="cpu")), load(ModelRef(str(tiny_folder), device="cpu"))
    good, bad = (torch.tensor([subject.tokenizer(text).input_ids]) for text in ("some words", "some <far> words"))
    assert bad.max() == rows
    for plan in ("", "a1,b2"):
        view = cut(subject, parse(plan))
        assert torch.equal(view.logits(good), cut(plain, parse(plan)).logits(good))
        with pytest.raises(Refusal, match=rf"the token '<far>' \({rows}\), and the model's embedding has {rows} rows"):
            view.logits(bad)
    assert not plain.model.get_input_embeddings()._forward_pre_hooks, "where every id has a row, nobody waits for a check"
