"""Fingerprints: equal for equal models wherever they lie, cheap to ask for, and never stale."""

import resource

import pytest
from safetensors.torch import load_file, save_file

from models.loading import identity
from models.loading import weight_files as weights
from models.loading.load import identify, load
from models.loading.weight_files import digest
from models.subject import ModelRef
from tests.models.leases import spoilt


def test_fingerprint_is_of_what_the_model_is_and_not_of_where(tiny_folder, copy):
    ref, other = ModelRef(str(tiny_folder)), ModelRef(str(copy))
    first = identify(ref)
    spoilt(copy, transformers_version="5.99.0")
    assert first == identify(other) == load(other).fingerprint
    assert len({first, identify(ModelRef(str(tiny_folder), dtype="bfloat16"))}) == 2


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja"])
def test_fingerprint_sees_each_file(copy, file):
    before = identify(ModelRef(str(copy)))
    if file == "config.json":
        spoilt(copy, rms_norm_eps=0.1)
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


def test_sources_a_large_file_can_be_cancelled(copy, monkeypatch):
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


def test_spoilt_memory_of_digests_is_forgotten(tiny_folder, monkeypatch, tmp_path):
    monkeypatch.setenv("PRUNESCOPE_DATA", str(tmp_path))
    identity._known.clear()
    before = identify(ModelRef(str(tiny_folder)))
    (tmp_path / "digests.json").write_text('{"half')
    identity._known.clear()
    assert identify(ModelRef(str(tiny_folder))) == before


def test_a_full_disk_stops_no_fingerprint(tiny_folder, monkeypatch, tmp_path):
    """The system's limit on the size of a file stands for a full disk."""
    before = identify(ModelRef(str(tiny_folder)))
    monkeypatch.setenv("PRUNESCOPE_DATA", str(tmp_path))
    identity._known.clear()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        assert identify(ModelRef(str(tiny_folder))) == before
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())
