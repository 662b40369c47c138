"""Loading: from a folder, from a hub, and every way in which it must be refused."""

import json
import shutil

import psutil
import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from models.loading import identity, memory
from models.loading import weight_files as weights
from models.loading.load import estimate, fetch, identify, load
from models.loading.weight_files import digest
from models.subject import ModelRef
from refusal import Refusal
from tests.models.hub import COMMIT


@pytest.fixture
def copy(tiny_folder, tmp_path):
    """A copy of the tiny model, to be spoilt."""
    return shutil.copytree(tiny_folder, tmp_path / "model")


@pytest.fixture
def roomy(monkeypatch):
    """Set how much memory is free, in bytes."""

    def free(size):
        monkeypatch.setattr(memory, "free_memory", lambda device: size)

    return free


def changed(folder, **values):
    """Change values in config.json; None takes one out."""
    config = json.loads((folder / "config.json").read_text()) | values
    kept = {key: value for key, value in config.items() if key not in values or value is not None}
    (folder / "config.json").write_text(json.dumps(kept))


def test_subject(tiny_folder):
    subject = load(ModelRef(str(tiny_folder), device="cpu"))
    assert (subject.layers, subject.width, subject.context) == (4, 32, 128)
    assert (subject.dtype, subject.device) == (torch.float32, torch.device("cpu"))
    assert subject.family.name == "llama"
    assert not subject.model.training
    assert not any(weight.requires_grad for weight in subject.model.parameters())
    assert not subject.expects_bos
    tokens = torch.arange(20)[None]
    expected = AutoModelForCausalLM.from_pretrained(tiny_folder)(tokens).logits
    assert torch.equal(subject.model(tokens).logits, expected)


def test_subject_that_expects_bos(copy):
    tokenizer = json.loads((copy / "tokenizer.json").read_text())
    bos = {"SpecialToken": {"id": "<s>", "type_id": 0}}
    tokenizer["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [bos, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}},
    }
    (copy / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert load(ModelRef(str(copy))).expects_bos


def test_nothing_is_drawn_and_progress_is_told(tiny_folder, capfd):
    said = []
    load(ModelRef(str(tiny_folder)), lambda *step: said.append(step))
    assert capfd.readouterr().err == ""
    done, total, text = said[-1]
    assert done == total > 30 and text == "loading weights"


def test_progress_can_cancel_and_the_next_load_works(tiny_folder):
    class Cancelled(Exception):
        pass

    def cancel(done, total, text):
        raise Cancelled

    with pytest.raises(Cancelled):
        load(ModelRef(str(tiny_folder)), cancel)
    load(ModelRef(str(tiny_folder)))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_dtype_as_asked(tiny_folder, dtype):
    assert load(ModelRef(str(tiny_folder), dtype=dtype, device="cpu")).dtype == getattr(torch, dtype)


@pytest.mark.parametrize("stored, computed", [("float16", "float32"), ("bfloat16", "bfloat16")])
def test_dtype_auto_on_a_cpu(copy, stored, computed):
    AutoModelForCausalLM.from_pretrained(copy, dtype=getattr(torch, stored)).save_pretrained(copy)
    ref = ModelRef(str(copy), device="cpu")
    assert load(ref).dtype == getattr(torch, computed)
    assert estimate(ref).dtype == computed


def test_split_computes_the_same(tiny_folder):
    tokens = torch.arange(20)[None]
    plain, split = (load(ModelRef(str(tiny_folder), device=device)) for device in ("cpu", "split"))
    assert torch.allclose(plain.model(tokens).logits, split.model(tokens.to(split.device)).logits.cpu(), atol=1e-4)


def test_estimate(tiny_folder, roomy):
    roomy(21_000_000_000)
    guess = estimate(ModelRef(str(tiny_folder), dtype="bfloat16", device="cpu"))
    assert guess.parameters == sum(weight.numel() for weight in load_file(tiny_folder / "model.safetensors").values())
    assert guess.needs == int(guess.parameters * 2.2)
    assert guess.fits
    assert str(guess) == "needs 0 MB, 21 GB free"


def test_too_large_is_refused_before_loading(tiny_folder, roomy):
    roomy(100_000)
    with pytest.raises(Refusal, match=r"needs 0 MB, 0 MB free on cpu in float32\. Choose bfloat16"):
        load(ModelRef(str(tiny_folder), device="cpu"))


def test_a_container_may_have_less_than_the_machine(monkeypatch):
    free = psutil.virtual_memory().available
    assert 0 < memory.free_memory("cpu") <= free * 1.1
    monkeypatch.setattr(memory, "_container_room", lambda: 5.0)
    assert memory.free_memory("cpu") == 5


# Fingerprints


def test_fingerprint_is_of_what_the_model_is_and_not_of_where(tiny_folder, copy):
    ref, other = ModelRef(str(tiny_folder)), ModelRef(str(copy))
    first = identify(ref)
    changed(copy, transformers_version="5.99.0")
    assert first == identify(other) == load(other).fingerprint
    assert len({first, identify(ModelRef(str(tiny_folder), dtype="bfloat16"))}) == 2


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja"])
def test_fingerprint_sees_each_file(copy, file):
    before = identify(ModelRef(str(copy)))
    if file == "config.json":
        changed(copy, rms_norm_eps=0.1)
    elif file == "model.safetensors":
        tensors = load_file(copy / file)
        tensors["model.norm.weight"] += 1
        save_file(tensors, copy / file, {"format": "pt"})
    else:
        (copy / file).write_text((copy / file).read_text() + " ")
    assert identify(ModelRef(str(copy))) != before


def test_large_files_are_read_once(tiny_folder, monkeypatch, tmp_path):
    monkeypatch.setenv("PRUNESCOPE_DATA", str(tmp_path))
    identity._known.clear()
    before = identify(ModelRef(str(tiny_folder)))
    identity._known.clear()  # as in another process
    monkeypatch.setattr(weights.hashlib, "file_digest", None)  # a second reading fails
    assert identify(ModelRef(str(tiny_folder))) == before


def test_identity_is_remembered(tiny_folder, monkeypatch):
    before = identify(ModelRef(str(tiny_folder)))
    monkeypatch.setattr(identity, "fingerprint_of", None)  # a second reckoning fails
    assert identify(ModelRef(str(tiny_folder))) == before


def test_reading_a_large_file_can_be_cancelled(copy, monkeypatch):
    monkeypatch.setattr(weights, "_STEP", 2**17)
    (copy / "notes.txt").write_text("a" * 2**20)
    said = []
    digest(copy / "notes.txt", lambda *step: said.append(step))
    assert said[-1] == (2**20, 2**20, "reading the fingerprint") and len(said) > 2
    (copy / "notes.txt").write_text("b" * 2**20)

    def cancel(*step):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        digest(copy / "notes.txt", cancel)


def test_an_unfinished_download_is_fetched_on(hub, tiny_folder, tmp_path):
    """Some shards are here: the others are fetched, instead of telling the person to copy them."""
    model = AutoModelForCausalLM.from_pretrained(tiny_folder)
    (hub.folder / "model.safetensors").unlink()
    model.save_pretrained(hub.folder, max_shard_size="100KB")
    fetch(ModelRef("owner/tiny"))
    shards = sorted((tmp_path / "hub").rglob("model-*.safetensors"))
    assert len(shards) > 1
    shards[0].unlink()
    with pytest.raises(Refusal, match="not completely"):
        identify(ModelRef("owner/tiny"))
    assert load(ModelRef("owner/tiny")).layers == 4


def test_spoilt_memory_of_digests_is_forgotten(tiny_folder, monkeypatch, tmp_path):
    monkeypatch.setenv("PRUNESCOPE_DATA", str(tmp_path))
    identity._known.clear()
    before = identify(ModelRef(str(tiny_folder)))
    (tmp_path / "digests.json").write_text('{"half')
    identity._known.clear()
    assert identify(ModelRef(str(tiny_folder))) == before


# Refusals


@pytest.mark.parametrize(
    "options, says",
    [
        ({"dtype": "int4"}, "no dtype 'int4'"),
        ({"device": "tpu"}, "no device 'tpu'"),
        ({"name": "/no/such/folder"}, "no folder or GGUF file"),
        ({"name": "weights.gguf"}, "no folder or GGUF file"),
        ({"name": " "}, "Which model"),
        ({"name": "two words/model"}, "neither a folder here nor a hub id"),
        ({"name": __file__}, "is no model"),
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
        ({"model_type": "novel", "auto_map": {"AutoConfig": "a.B"}}, "brings code of its own"),
        ({"model_type": None}, "names no model_type"),
    ],
)
def test_unsupported_config(copy, values, says):
    changed(copy, **values)
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
    changed(copy, tie_word_embeddings=True)
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
    changed(copy, model_type="novel", auto_map={"AutoConfig": "novel.NovelConfig"})
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


# The hub


def test_hub_model(hub, tiny_folder, tmp_path, monkeypatch):
    ref = ModelRef("owner/tiny")
    assert estimate(ref).parameters == pytest.approx(estimate(ModelRef(str(tiny_folder))).parameters, rel=0.1)
    assert not list((tmp_path / "hub").rglob("*.safetensors"))  # the estimate fetched small files only
    said = []
    subject = load(ref, lambda *step: said.append(step))
    size = (tiny_folder / "model.safetensors").stat().st_size
    assert (size, size, "downloading owner/tiny") in said
    assert subject.fingerprint == identify(ModelRef(str(tiny_folder)))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert load(ref).fingerprint == load(ModelRef("owner/tiny", revision=COMMIT)).fingerprint == identify(ref)


@pytest.mark.parametrize(
    "ref, says",
    [
        (ModelRef("owner/none"), "The hub has no 'owner/none'"),
        (ModelRef("owner/gated"), "asks for consent"),
        (ModelRef("owner/tiny", revision="v9"), "has no revision 'v9'"),
    ],
)
def test_hub_refuses(hub, ref, says):
    with pytest.raises(Refusal, match=says):
        load(ref)


def test_no_network(hub, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(Refusal, match=r"not on this machine, and the hub cannot be reached\. .*bundled"):
        load(ModelRef("owner/tiny"))


def test_offline(hub, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(Refusal, match="not on this machine, and HF_HUB_OFFLINE is set"):
        load(ModelRef("owner/tiny"))
