"""Model folders that were made to hang, to fill the memory or to crash: each ends in a sentence, soon."""

import json
import os
import struct
from contextlib import suppress
from itertools import pairwise

import pytest
import torch
from safetensors.torch import load_file, save_file

from models.loading.checks.words import in_words
from models.loading.load import estimate, fetch, identify, load
from models.subject import ModelRef
from refusal import Refusal
from tests.conftest import tiny_tokenizer
from tests.models.leases import spoilt
from tests.models.limited import limited
from tests.models.tiny import LAYERS as LAYERS_OF_TINY
from tests.models.tiny import TINY, tiny_model

LAYERS = "num_hidden_layers"
MERGED = "merge_method: passthrough\nslices:\n- sources:\n"
BOMB = "".join(f"{b}: &{b} [{f'*{a}, ' * 9}]\n" for a, b in pairwise("abcdefghijklmnopqrstuvwxyz"))


@pytest.fixture(autouse=True)
def soon():
    with limited():
        yield


def refused(folder, says):
    """Check that every way to look at a model refuses it, on one line, or does not get so far as to mind."""
    ref = ModelRef(str(folder), device="cpu")
    with pytest.raises(Refusal, match=says) as caught:
        load(ref)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    for look in (identify, estimate, fetch):
        with suppress(Refusal):
            look(ref)


@pytest.mark.parametrize(
    "values, says",
    [
        ({"model_type": ["llama"]}, "model_type in config.json must be a string"),
        ({"architectures": [1, 2]}, "architectures in config.json must be a list of names"),
        ({"architectures": "LlamaForCausalLM"}, "architectures in config.json must be a list of names"),
        ({"architectures": {"a": 1}}, "must be a list of names"),
        ({"dtype": "int4"}, "dtype 'int4', which is unknown. Write one of float64, float32"),
        ({"torch_dtype": ["float32"], "dtype": None}, "torch_dtype in config.json must be the name of a dtype"),
        ({"num_attention_heads": 0}, "num_attention_heads .* from 1 to 16,384, not 0"),
        ({"num_attention_heads": -4}, "not -4"),
        ({"num_key_value_heads": 1.5}, "not 1.5"),
        ({"num_attention_heads": 10**7}, "not 10000000"),
        ({"hidden_size": "wide"}, "hidden_size .* not 'wide'"),
        ({"hidden_size": [32]}, "hidden_size .* not a list"),
        ({"hidden_size": True}, "hidden_size .* not True"),
        ({"hidden_size": 10**7}, "hidden_size .* from 1 to 1,048,576"),
        ({"hidden_size": 10**6}, "tokens of width 1,000,000, but the embeddings in the weights have the shape 287 × 32"),
        ({"intermediate_size": 10**7}, "describes .* parameters, but its weights hold"),
        ({"vocab_size": 10**10}, "vocab_size .* not 10000000000"),
        ({"vocab_size": 10**8}, "100,000,000 tokens of width 32, but"),
        ({LAYERS: 10**9}, "num_hidden_layers .* from 1 to 1,000"),
        ({LAYERS: 10**5}, "num_hidden_layers .* from 1 to 1,000"),
        ({LAYERS: 900}, "says 900 layers, but the weights hold 4"),
        ({LAYERS: "4"}, "num_hidden_layers .* not '4'"),
        ({"max_position_embeddings": "long"}, "max_position_embeddings .* not 'long'"),
        ({"rope_scaling": [1]}, "rope_scaling in config.json must be an object in braces or null, not a list"),
        ({"rope_scaling": {"rope_type": "linear"}}, "could not be opened"),
        ({"rope_scaling": {"rope_type": 5}}, "could not be opened"),
        ({"quantization_config": "int4"}, "quantization_config in config.json must be an object"),
        ({"quantization_config": {"quant_method": "gptq"}}, "could not be opened"),
        ({"text_config": [1]}, "text_config in config.json must be an object"),
        ({"hidden_act": 5}, "could not be opened"),
        ({"rms_norm_eps": "small"}, "could not be opened"),
        ({"transformers_weights": "../other.safetensors"}, "weights of its own choice"),
        ({"drop_attn_list": [1], LAYERS: None}, "does not say how many there are"),
        ({"drop_attn_list": list(range(900)), "drop_mlp_list": list(range(900)), LAYERS: 900, "intermediate_size": 2**24},
         "to be opened, and"),
        ({"block_configs": [{"attention": {"no_op": False, "n_heads_in_group": 0}, "ffn": {"no_op": True}}]},
         "block_configs in config.json cannot be read"),
        ({"block_configs": 5}, "block_configs in config.json cannot be read"),
    ],
)  # fmt: skip
def test_values_that_no_config_has(copy, values, says):
    spoilt(copy, **values)
    refused(copy, says)


def test_a_config_that_is_nested_deeply(copy):
    (copy / "config.json").write_text('{"a":' * 100_000 + "1" + "}" * 100_000)
    refused(copy, "cannot be read as JSON: it is nested too deeply")


def test_a_config_with_a_number_of_many_digits(copy):
    (copy / "config.json").write_text('{"model_type": "llama", "hidden_size": ' + "9" * 5000 + "}")
    refused(copy, "cannot be read as JSON")


@pytest.mark.parametrize(
    "name, size", [("config.json", 5_000_000), ("tokenizer.json", 300_000_000), ("chat_template.jinja", 2_000_000)]
)
def test_files_that_are_bombs(copy, name, size):
    with (copy / name).open("ab") as file:
        file.truncate(size)  # a hole: it takes no disk
    refused(copy, rf"{name} is larger than .* MB, the most that is read")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "generation_config.json", "vocab.txt"])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_files_that_are_none(copy, name, kind):
    path = copy / name
    path.unlink(missing_ok=True)
    {"pipe": lambda: os.mkfifo(path), "device": lambda: path.symlink_to("/dev/zero"), "folder": path.mkdir}[kind]()
    refused(copy, rf"{name} cannot be read: it is a {kind}, not a file")


def test_a_pipe_among_the_templates(copy):
    (copy / "additional_chat_templates").mkdir()
    os.mkfifo(copy / "additional_chat_templates" / "tool.jinja")
    refused(copy, r"tool\.jinja cannot be read: it is a pipe")


def test_links_to_regular_files_are_followed_and_links_to_nothing_are_not_there(copy, tmp_path):
    """As in the hub's cache, where every file is a link into a folder of blobs."""
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    for path in list(copy.iterdir()):
        path.rename(blobs / path.name)
        path.symlink_to(blobs / path.name)
    (copy / "extra.json").symlink_to(tmp_path / "nothing")
    ref = ModelRef(str(copy), device="cpu")
    assert load(ref).layers == 4 and identify(ref)


@pytest.mark.parametrize(
    "index, says",
    [
        ([], "must hold a JSON object"),
        ({"weight_map": []}, "must map each tensor to the name of a file"),
        ({"weight_map": {"a": 1}}, "must map each tensor to the name of a file"),
        ({"weight_map": {"a": "../other/model.safetensors"}}, "stand beside it, without a path"),
        ({"weight_map": {"a": "/etc/model.safetensors"}}, "without a path"),
        ({"weight_map": {"a": "config.json"}}, "names safetensors files"),
        ({"weight_map": {"a": ".."}}, "without a path"),
        ({}, "must map each tensor"),
    ],
)
def test_an_index_that_leads_elsewhere(copy, tmp_path, index, says):
    (tmp_path / "other").mkdir()
    (copy / "model.safetensors").rename(tmp_path / "other" / "model.safetensors")
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(copy, says)


@pytest.mark.parametrize(
    "said", ["nothing", "[" * 100_000, '{"version": "1.0", "model": {"type": "BPE"}}', '{"model": 5}', "[]"]
)
def test_tokenizers_that_are_none(copy, said):
    (copy / "tokenizer.json").write_text(said)
    refused(copy, "could not be opened")


@pytest.mark.parametrize(
    "said",
    ["[]", "5", '{"chat_template": 5}', '{"tokenizer_class": 5}', '{"a":' * 50_000 + "1" + "}" * 50_000],
    ids=range(5),
)
def test_tokenizer_configs_that_are_none(copy, said):
    """Whatever of these transformers reads all the same is a model that loads."""
    (copy / "tokenizer_config.json").write_text(said)
    try:
        load(ModelRef(str(copy), device="cpu"))
    except Refusal as refusal:
        assert "could not be opened" in str(refusal)


def test_weights_without_an_embedding(copy):
    weights = load_file(copy / "model.safetensors")
    del weights["model.embed_tokens.weight"]
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    refused(copy, "hold no token embedding")


@pytest.mark.parametrize(
    "content",
    [
        b"\xff" * 200,
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 10**7) + b"{",
        struct.pack("<Q", 60) + b'{"a":{"dtype":"F32","shape":[9,9],"data_offsets":[0,4000]}}'.ljust(60),
    ],
)
def test_weights_that_are_none(copy, content):
    (copy / "model.safetensors").write_bytes(content)
    refused(copy, "broken or cut short")


def test_weights_with_a_header_that_fills_the_memory(copy):
    with (copy / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", 90_000_000) + b"{")
        file.truncate(100_000_000)
    refused(copy, "The header of .* has 90 MB")


@pytest.mark.parametrize(
    "name, text",
    [
        ("prunescope.json", '{"format": "removed", "layers": 10000000000, "drop_attention": [], "drop_mlp": []}'),
        ("prunescope.json", "[" * 100_000),
        ("mergekit_config.yml", f"{MERGED}  - model: a\n    layer_range: [0, 99999999999]\n"),
        ("mergekit_config.yml", f"a: &a [1, 1]\n{BOMB}{MERGED}  - model: *z\n    layer_range: [0, 4]\n"),
    ],
    ids=range(4),
)
def test_a_record_that_lies_says_nothing(copy, name, text):
    (copy / name).write_text(text)
    assert load(ModelRef(str(copy), device="cpu")).layers == 4


@pytest.mark.parametrize(
    "name, says",
    [
        ("a" * 3000, "is longer than 1,000 letters"),
        ("/" + "a" * 999, "cannot be read: File name too long"),
        ("nul\0", "has characters that cannot be printed"),
        ("a\nb", "has characters that cannot be printed"),
        ("\udc80", "has characters that cannot be printed"),
        ("~nobody-of-that-name/model", "no folder or GGUF file"),
        ("/dev/zero", "is not a model"),
    ],
    ids=range(7),
)
def test_names_that_no_model_has(name, says):
    for look in (load, identify, estimate):
        with pytest.raises(Refusal, match=says):
            look(ModelRef(name))


@pytest.mark.parametrize("revision", ["..", "../../etc", "/etc", "a\0b", "r" * 300])
def test_revisions_that_lead_elsewhere(hub, revision):
    for look in (load, identify):
        with pytest.raises(Refusal, match="cannot be a revision"):
            look(ModelRef("owner/tiny", revision))


def test_what_progress_raises_passes_the_door_as_it_is(tiny_folder):
    """Also where a library turns it into something else on the way."""

    class Cancelled(Exception):
        pass

    def cancel(done, total, text):
        if text == "loading weights":
            raise Cancelled

    with pytest.raises(Cancelled):
        load(ModelRef(str(tiny_folder), device="cpu"), cancel)


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory"), KeyboardInterrupt()])
def test_a_lack_of_memory_passes_the_door_as_it_is(error):
    with pytest.raises(type(error)), in_words("model"):
        raise error


@pytest.mark.parametrize("name", TINY)
def test_every_family_passes(tmp_path, name):
    tiny_model(name).save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    assert load(ModelRef(str(tmp_path), device="cpu")).layers == LAYERS_OF_TINY
