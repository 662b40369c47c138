"""What is known of the bundled model: it can talk, and its attention is far more redundant than its MLPs."""

import numpy as np
import pytest
import torch

from models.corpus import CorpusRef, cut
from models.families import family_of
from models.generate import Settings, Writer, prompt_tokens, write
from models.load import ModelRef, load
from models.plan import parse
from models.view import cut as view_of
from probes import fidelity, similarity
from probes.base import NoParams
from probes.ranking import most_redundant

pytestmark = pytest.mark.real

# Recorded in float32 on a CPU, 4 windows of 512 tokens of the documentation of Python 3.11.
ATTENTION_ORDER = [25, 23, 26, 24]


@pytest.fixture(scope="module")
def subject():
    return load(ModelRef(dtype="float32", device="cpu"))


@pytest.fixture(scope="module")
def corpus(subject):
    return cut(CorpusRef(windows=4, length=256), subject.tokenizer, subject.context)


@pytest.fixture(scope="module")
def found(subject):
    """Similarity on 4 windows of 512 tokens."""
    long = cut(CorpusRef(windows=4, length=512), subject.tokenizer, subject.context)
    return similarity.PROBE.run(subject, long, parse(""), NoParams())


def measured(subject, corpus, plan):
    return fidelity.PROBE.run(subject, corpus, plan, NoParams())


def said(subject, plan, length=20):
    prompt = prompt_tokens(subject.tokenizer, "What is the capital of France?", True, subject.context)
    writer = Writer(view_of(subject.model, family_of(subject.config), parse(plan)), subject.tokenizer, prompt)
    return "".join(token.piece for _, token in write([writer], Settings(length), subject.context))


def test_it_knows_the_capital_of_france(subject):
    assert said(subject, "").startswith("The capital of France is Paris.")


def test_it_still_knows_without_its_most_redundant_attention(subject, found):
    assert "Paris" in said(subject, str(most_redundant(found, "attention", 4)))


def test_it_does_not_without_its_first_layers(subject):
    assert "Paris" not in said(subject, "b0-1")
