"""Loading: from a folder and from a hub."""

import json

import psutil
import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from models.loading import memory
from models.loading.load import estimate, fetch, identify, load
from models.subject import ModelRef
from refusal import Refusal
from tests.models.hub import COMMIT
from tests.models.leases import spoilt


@pytest.fixture
def roomy(monkeypatch):
    """Set how much memory is free, in bytes."""

    def free(size):
        monkeypatch.setattr(memory, "free_memory", lambda device: size)

    return free


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
    assert str(guess) == "needs 0 MB, and 21 GB is free"


def test_too_large_is_refused_before_loading(tiny_folder, roomy):
    roomy(100_000)
    with pytest.raises(Refusal, match=r"needs 0 MB, and 0 MB is free on cpu in float32\. Choose bfloat16"):
        load(ModelRef(str(tiny_folder), device="cpu"))


def test_a_container_may_have_less_than_the_machine(monkeypatch):
    free = psutil.virtual_memory().available
    assert 0 < memory.free_memory("cpu") <= free * 1.1
    monkeypatch.setattr(memory, "_container_room", lambda: 5.0)
    assert memory.free_memory("cpu") == 5


def test_files_that_change_while_they_are_read(copy):
    """The tokenizer may be of the old ones, the weights of the new ones, and the fingerprint of neither."""

    def spoil(done, total, text):
        if text == "loading weights" and done == total:
            spoilt(copy, rms_norm_eps=0.1)

    with pytest.raises(Refusal, match=r"changed while they were being read\. Load it again"):
        load(ModelRef(str(copy)), spoil)


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


def test_an_unfinished_download_is_fetched_on(hub, tiny_folder, tmp_path):
    """Some shards are here: the others are fetched, instead of telling the person to copy them."""
    model = AutoModelForCausalLM.from_pretrained(tiny_folder)
    (hub.folder / "model.safetensors").unlink()
    model.save_pretrained(hub.folder, max_shard_size="100KB")
    fetch(ModelRef("owner/tiny"))
    shards = sorted((tmp_path / "hub").rglob("model-*.safetensors"))
    assert len(shards) > 1
    shards[0].unlink()
    with pytest.raises(Refusal, match="only partly"):
        identify(ModelRef("owner/tiny"))
    assert load(ModelRef("owner/tiny")).layers == 4


def test_code_of_a_trusted_hub_model_is_fetched_before_its_config_is_read(hub, monkeypatch):
    spoilt(hub.folder, model_type="novel", auto_map={"AutoConfig": "novel.NovelConfig"})
    (hub.folder / "novel.py").write_text(
        "from transformers import PreTrainedConfig\nclass NovelConfig(PreTrainedConfig):\n    model_type = 'novel'\n"
    )
    with pytest.raises(Refusal, match="comes with its own code"):
        fetch(ModelRef("owner/tiny"))
    monkeypatch.setenv("PRUNESCOPE_TRUST", "owner/tiny")
    with pytest.raises(Refusal, match="'novel' is not supported"):
        fetch(ModelRef("owner/tiny"))
