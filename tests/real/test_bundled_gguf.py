"""The bundled model's own GGUF file, pruned and run by llama.cpp."""

import pytest
import torch

from models.lease import Leases
from models.loading import bundled
from models.loading.load import load
from models.subject import ModelRef
from plans.cut import cut
from plans.export.export import Order, export
from plans.export.gguf.reread import TOLERANCE, divergence, reads
from plans.plan import parse

pytestmark = pytest.mark.real


def test_sublayers_are_exported_and_checked(tmp_path, monkeypatch):
    monkeypatch.setenv("PRUNESCOPE_EXPORTS", str(tmp_path))
    bundled.folder()
    done = export(Order(ModelRef(dtype="float32", device="cpu"), parse("a3,a7"), "gguf", "out"), Leases(), lambda *_: {})
    (file,) = done.folder.glob("*.gguf")
    assert done.difference < TOLERANCE / 2
    assert file.stat().st_size < bundled.gguf().stat().st_size - 1_000_000


def test_a_single_redundant_attention_is_missed():
    """The least that can be wrong: the dense file against the view without its most redundant attention."""
    subject = load(ModelRef(dtype="float32", device="cpu"))
    text = "The capital of France is Paris. The capital of Italy is Rome. The capital of Spain is Madrid, and that of Japan is"
    tokens = torch.tensor([subject.tokenizer(text).input_ids[:24]])
    found = reads(bundled.gguf(), tokens, subject.config.vocab_size)

    def apart(plan):
        return divergence(found, torch.log_softmax(cut(subject, parse(plan)).logits(tokens).float(), -1))

    assert apart("") < TOLERANCE < apart("a25")
