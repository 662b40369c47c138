"""Leases: which names mean one model, what is refused before anybody gives up memory, the hub, and how much there is."""

import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants

from models.lease import Leases
from models.loading import memory
from models.loading.load import estimate, fetch, identify
from models.subject import ModelRef
from refusal import Refusal
from tests.models.leases import Cancelled, Watcher, fits, names, spoilt, used


def test_two_dtypes_are_two_and_two_names_are_one(folders, tmp_path):
    a = folders[0]
    leases, half = Leases(), ModelRef(a.name, dtype="bfloat16", device="cpu")
    twin = ModelRef(str(shutil.copytree(a.name, tmp_path / "twin")), device="cpu")
    with leases.lease(a) as one, leases.lease(half) as two, leases.lease(twin) as three:
        assert (one.dtype, two.dtype) == (torch.float32, torch.bfloat16)
        assert three.model is one.model and three.ref == twin
        assert [(each.dtype, each.holders) for each in leases.residents()] == [("bfloat16", 1), ("float32", 2)]


def test_two_devices_are_two_unless_the_choice_is_left(folders):
    a = folders[0]
    leases, split, auto = Leases(), ModelRef(a.name, device="split"), ModelRef(a.name)
    used(leases, split)
    with leases.lease(auto):
        assert [each.place for each in leases.residents()] == ["split"]
    used(leases, a)
    assert [each.place for each in leases.residents()] == ["split", "cpu"]


def test_a_changed_folder_is_another_model(folders, tmp_path):
    a = folders[0]
    leases = Leases()
    with leases.lease(a) as before:
        old = before.fingerprint
        spoilt(Path(a.name), rms_norm_eps=0.1)
        with leases.lease(a) as after:
            assert after.fingerprint == identify(a) != old and after.model is not before.model
            assert leases.resident(old)
    assert [each.fingerprint for each in leases.residents()] == [identify(a)]


def test_a_changed_folder_leaves_its_copy(folders, tmp_path):
    a = folders[0]
    leases, twin = Leases(), ModelRef(str(shutil.copytree(a.name, tmp_path / "twin")), device="cpu")
    used(leases, a)
    used(leases, twin)
    spoilt(Path(a.name), rms_norm_eps=0.1)
    used(leases, a)
    assert {each.fingerprint for each in leases.residents()} == {identify(a), identify(twin)}


def test_release(folders):
    a, b, _ = folders
    leases = Leases()
    models = [used(leases, each) for each in folders]
    object.__setattr__(models[0](), "itself", models[0]())  # such a circle goes when somebody looks for circles
    with leases.lease(b):
        assert leases.release(identify(b)) == 0
        assert leases.release(identify(a)) == 1
        assert leases.release("nothing") == 0
        assert names(leases) == ["c", "b"]
        assert leases.release() == 1
    assert names(leases) == ["b"]
    assert [each() is None for each in models] == [True, False, True]
    assert leases.release() == 1 and models[1]() is None


@pytest.mark.parametrize(
    "spoil, says",
    [
        (lambda folder: spoilt(folder, architectures=["BertForMaskedLM"]), "is an encoder"),
        (lambda folder: spoilt(folder, model_type="novel"), "'novel' is not supported"),
        (lambda folder: [each.unlink() for each in folder.glob("tokenizer*")], "tokenizer"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"1234567890"), "broken or cut short"),
        (lambda folder: (folder / "model.safetensors").unlink(), r"no model\.safetensors"),
        (shutil.rmtree, "no folder or GGUF file"),
    ],
    ids=["encoder", "family", "tokenizer", "weights", "none", "folder"],
)
def test_what_is_refused_costs_nobody_a_model(folders, spoil, says):
    a, b, _ = folders
    leases = Leases(fits(1.5, a))
    kept = used(leases, a)
    spoil(Path(b.name))
    with pytest.raises(Refusal, match=says):
        used(leases, b)
    assert names(leases) == ["a"] and kept() is not None


def test_a_model_whose_folder_is_gone_is_refused(folders):
    leases = Leases()
    used(leases, folders[0])
    shutil.rmtree(folders[0].name)
    with pytest.raises(Refusal, match="no folder or GGUF file"):
        used(leases, folders[0])


def test_a_lease_ends_when_its_block_fails(folders):
    leases = Leases()
    with pytest.raises(Cancelled), leases.lease(folders[0]):
        raise Cancelled
    assert leases.residents()[0].holders == 0


def test_many_threads_share_a_narrow_memory(folders, pool):
    leases = Leases(fits(2, folders[0]))
    seen = []

    def work(i):
        with leases.lease(folders[i % 3], Watcher()) as subject:
            seen.append(sum(each.bytes for each in leases.residents()))
            return subject.fingerprint == identify(folders[i % 3])

    assert all(pool.map(work, range(18), timeout=120))
    assert max(seen) <= fits(2, folders[0])("cpu")
    assert all(each.holders == 0 for each in leases.residents())


# The hub


def test_a_hub_model_is_identified_when_it_is_here(hub, tiny_folder, tmp_path):
    ref, twin = ModelRef("owner/tiny", device="cpu"), ModelRef(str(tiny_folder), device="cpu")
    (hub.folder / "README.md").write_text("Nobody needs this file.")
    with pytest.raises(Refusal, match="'owner/tiny' is not on this machine yet; load it first"):
        identify(ref)
    estimate(ref)  # brings the small files
    with pytest.raises(Refusal, match="'owner/tiny' is only partly on this machine; load it first"):
        identify(ref)
    assert not list((tmp_path / "hub").rglob("*.safetensors"))
    fetch(ref)
    assert identify(ref) == identify(twin)


def test_a_lease_downloads(hub, tiny_folder, monkeypatch):
    leases, ref, said = Leases(), ModelRef("owner/tiny", device="cpu"), Watcher()
    used(leases, ref, said)
    assert "downloading owner/tiny" in said.said
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.shutdown()
    used(leases, ref)
    assert leases.residents()[0].fingerprint == identify(ref)


def test_an_encoder_on_the_hub_is_not_fetched(hub, folders, tmp_path, reads):
    spoilt(hub.folder, architectures=["BertForMaskedLM"])
    leases = Leases(fits(1.5, folders[0]))
    used(leases, folders[0])
    with pytest.raises(Refusal, match="is an encoder"):
        used(leases, ModelRef("owner/tiny"))
    assert not list((tmp_path / "hub").rglob("*.safetensors")) and names(leases) == ["a"]


# How much models may take


def test_by_default_a_share_of_what_is_free_or_taken_by_models(monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda device: 1000)
    assert memory.allowed("cpu", 500) == 1200
    monkeypatch.setenv("PRUNESCOPE_MEMORY", "1kB")
    assert memory.allowed("cpu", 500) == 1000
    monkeypatch.setenv("PRUNESCOPE_MEMORY", "1GB")
    assert memory.allowed("cpu", 500) == 1500  # not more than there is
    monkeypatch.setenv("PRUNESCOPE_MEMORY", "cuda=1kB")
    assert memory.allowed("cpu", 500) == 1200


def test_the_room_that_leases_tell(folders, monkeypatch):
    leases = Leases()
    monkeypatch.setattr(memory, "free_memory", lambda device: 10**9)
    assert leases.room("cpu") == 8 * 10**8
    used(leases, folders[0])
    assert leases.room("cpu") == int(0.8 * (10**9 + leases.residents()[0].bytes))


def test_split_fills_the_gpu_first(monkeypatch):
    assert memory.spread("cpu", 50, lambda place: 10) == memory.spread("mps", 50, lambda place: 10) == {"cpu": 50}
    assert memory.spread("cuda", 50, lambda place: 10) == {"cuda": 50}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert memory.spread("split", 50, lambda place: 10) == {"cuda": 10, "cpu": 40}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert memory.spread("split", 50, lambda place: 10) == {"cpu": 50}
