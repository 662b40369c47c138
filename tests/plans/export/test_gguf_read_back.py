"""What llama.cpp says of a rewritten GGUF file, and the export that hangs on it."""

from dataclasses import replace
from math import isnan

import numpy as np
import pytest
import torch

from models.lease import Leases
from models.loading.load import load
from models.subject import ModelRef
from plans.cut import cut
from plans.export import gguf
from plans.export.export import Order, export
from plans.export.gguf import write
from plans.export.gguf.reread import TOLERANCE, divergence, reads
from plans.export.registry import FORMATS
from plans.plan import parse
from refusal import Refusal
from tests.conftest import tiny_tokenizer
from tests.plans.export.tiny_gguf import write_tiny
from texts.corpus import CorpusRef

TOKENS = torch.from_numpy(np.random.default_rng(0).integers(3, 258, (2, 32)))
VOCABULARY = len(tiny_tokenizer())


@pytest.fixture(scope="module")
def tiny(tiny_folder, tmp_path_factory):
    return write_tiny(tiny_folder, tmp_path_factory.mktemp("gguf") / "tiny.gguf")


@pytest.fixture(scope="module")
def subject(tiny):
    return load(ModelRef(str(tiny), device="cpu"))


def says(subject, plan):
    """Log-probabilities of the live view, of shape (windows, tokens, vocab)."""
    return torch.log_softmax(cut(subject, parse(plan)).logits(TOKENS).float(), -1)


def written(source, plan, folder, **more):
    write(source, parse(plan), folder / "out.gguf", **more)
    return folder / "out.gguf"


# What llama.cpp says


@pytest.mark.parametrize("plan", ["b1", "a1", "a0", "m0", "a1,m3,b2", "b0,a1", "m0,m1,m2,m3"])
def test_llama_cpp_says_what_the_view_says(tiny, subject, tmp_path, plan):
    found = reads(written(tiny, plan, tmp_path), TOKENS, VOCABULARY)
    assert divergence(found, says(subject, plan)) < 1e-4 < TOLERANCE
    assert divergence(found, says(subject, "")) > TOLERANCE


def test_the_same_file_in_transformers_says_exactly_that(tiny, subject, tmp_path):
    again = load(ModelRef(str(written(tiny, "b1", tmp_path)), device="cpu"))
    assert torch.equal(torch.log_softmax(again.model(TOKENS).logits.float(), -1), says(subject, "b1"))


def test_what_cannot_be_run_is_told(tiny, tmp_path):
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(tiny.read_bytes()[:-4096])
    with pytest.raises(Refusal, match=r"llama\.cpp cannot run what was written"):
        reads(damaged, TOKENS, VOCABULARY)


def test_sources_back_can_be_cancelled(tiny):
    def progress(done, total, text):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reads(tiny, TOKENS, VOCABULARY, progress)


def test_divergence_is_a_bound_on_the_kl():
    live, found = (torch.log_softmax(torch.randn(1, 2, 50, generator=torch.Generator().manual_seed(i)), -1) for i in (0, 1))
    whole = (live.exp() * (live - found)).sum(-1).mean()
    assert divergence(found, live) == pytest.approx(float(whole), rel=1e-5)
    found[..., 20:] = torch.nan
    assert 0 < divergence(found, live) < whole
    found[:, 0] = torch.nan  # a place that was not asked does not count
    assert divergence(found, live) > 0
    assert isnan(divergence(torch.full_like(found, torch.nan), live))  # nothing was asked, so nothing is known


# The whole way


@pytest.fixture
def order(tiny, tmp_path, monkeypatch):
    """Whole blocks and an attention of the tiny GGUF file, compared on a text of its own."""
    monkeypatch.setenv("PRUNESCOPE_EXPORTS", str(tmp_path / "exports"))
    (tmp_path / "text.txt").write_text("The capital of France is Paris, and the capital of the arts. " * 40)
    text = CorpusRef(str(tmp_path / "text.txt"), 2, 16)
    return Order(ModelRef(str(tiny), device="cpu"), parse("b1,a2"), "gguf", "out", text)


def test_an_export_is_checked_by_llama_cpp(order):
    done = export(order, Leases(), lambda *_: {})
    assert done.difference < 1e-3 and "mean KL" in str(done)
    assert {path.name for path in done.folder.iterdir()} == {"tiny-pruned.gguf", "README.md", "prunescope.json"}
    assert "library_name: gguf" in (done.folder / "README.md").read_text()


def test_a_wrong_layer_is_not_exported(order, tiny, monkeypatch, tmp_path):
    """The file of another plan is written in the place of the right one."""
    right = gguf.FORMAT

    def wrong(checkpoint, folder, progress):
        write(tiny, parse("b0,a2"), folder / "tiny-pruned.gguf")

    monkeypatch.setitem(FORMATS, "gguf", replace(right, write=wrong))
    with pytest.raises(Refusal, match=r"the mean KL is [\d.]+ nats, and rounding explains 0\.01\. Nothing"):
        export(order, Leases(), lambda *_: {})
    assert not [path for path in tmp_path.rglob("*.gguf")]


def test_a_model_from_safetensors_is_told_what_to_do(order, tiny_folder):
    with pytest.raises(Refusal, match=r"convert_hf_to_gguf\.py"):
        export(replace(order, ref=ModelRef(str(tiny_folder), device="cpu")), Leases(), lambda *_: {})


def test_without_llama_cpp_nothing_is_exported(order, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(Refusal, match="pip install xllamacpp"):
        export(order, Leases(), lambda *_: {})
