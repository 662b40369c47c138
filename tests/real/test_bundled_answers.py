"""What is known of the bundled model: it can talk, and its attention is far more redundant than its MLPs."""

import numpy as np
import pytest
import torch

from models.generate import Settings, Writer, prompt_tokens, write
from models.loading.load import load
from models.subject import ModelRef
from plans.cut import cut
from plans.plan import parse
from probes.base import NoParams
from probes.deviation import fidelity
from probes.redundancy import similarity
from probes.redundancy.ranking import most_redundant
from texts.corpus import CorpusRef, read_corpus

pytestmark = pytest.mark.real

# Recorded in float32 on a CPU, on 4 windows of 512 tokens of the documentation in CPython 3.11.7.
DIGEST = "0aca8a746826653cfd4b8fda47d0d180bf6fb2ea68f119777451d0c751d25b7f"
ATTENTION = [
    0.60407, 0.84650, 0.98443, 0.98927, 0.98955, 0.98905, 0.98970, 0.99316, 0.98041, 0.98951,
    0.98576, 0.98505, 0.98585, 0.98625, 0.98777, 0.98514, 0.97905, 0.98555, 0.98288, 0.97833,
    0.98244, 0.97740, 0.98726, 0.97670, 0.88867, 0.99555, 0.99321, 0.98781, 0.99051, 0.98918,
]  # fmt: skip
MLP = [
    0.05813, 0.96812, 0.97146, 0.97656, 0.97110, 0.96953, 0.96802, 0.96786, 0.96419, 0.96891,
    0.96551, 0.97435, 0.97692, 0.97910, 0.97800, 0.97723, 0.98267, 0.98203, 0.96725, 0.97209,
    0.94987, 0.97220, 0.96577, 0.95809, 0.97816, 0.98614, 0.98082, 0.97397, 0.96906, 0.69137,
]  # fmt: skip
BLOCK = [
    0.00588, 0.82650, 0.96374, 0.97098, 0.96547, 0.96282, 0.96137, 0.96337, 0.94708, 0.96317,
    0.95647, 0.96368, 0.96938, 0.97294, 0.97421, 0.96948, 0.96795, 0.97180, 0.95702, 0.95599,
    0.93427, 0.95059, 0.95537, 0.93238, 0.85270, 0.98151, 0.97508, 0.95694, 0.95096, 0.67030,
]  # fmt: skip


@pytest.fixture(scope="module")
def subject():
    return load(ModelRef(dtype="float32", device="cpu"))


@pytest.fixture(scope="module")
def corpus(subject):
    return read_corpus(CorpusRef("python-docs", windows=4, length=256), subject.tokenizer, subject.context)


@pytest.fixture(scope="module")
def long(subject):
    """4 windows of 512 tokens."""
    return read_corpus(CorpusRef("python-docs", windows=4, length=512), subject.tokenizer, subject.context)


@pytest.fixture(scope="module")
def found(subject, long):
    """Similarity on the long windows."""
    return similarity.PROBE.run(subject, long, parse(""), NoParams())


def measured(subject, corpus, plan):
    return fidelity.PROBE.run(subject, corpus, plan, NoParams())


def said(subject, plan, length=20):
    prompt = prompt_tokens(subject.tokenizer, "What is the capital of France?", True, subject.context)
    writer = Writer(cut(subject, parse(plan)), subject.tokenizer, prompt)
    return "".join(token.piece for _, token in write([writer], Settings(length), subject.context))


def test_it_knows_the_capital_of_france(subject):
    assert said(subject, "").startswith("The capital of France is Paris.")


def test_one_redundant_attention_already_changes_what_it_says(subject):
    """Attention 25 hardly turns the stream and costs little perplexity, but a model this small then writes in circles."""
    assert not said(subject, "a25").startswith("The capital of France is Paris.")


def test_it_does_not_without_its_first_layers(subject):
    assert "Paris" not in said(subject, "b0-1")


def test_attention_is_the_most_redundant(found):
    assert found.attention_order[:2] == [25, 26]
    assert found.mlp_order[0] == 25 and found.block_order[0] == 25
    assert all(item[0] == "a" for item in found.joint_order[:8])
    assert found.spans[0]["plan"] == "b25" and found.spans[3]["plan"] == "b12-15"


def test_scores_are_those_recorded(found, long):
    if long.digest != DIGEST:
        pytest.skip("This Python ships another text than 3.11.7, on which the scores were recorded.")
    for name, recorded in (("attention", ATTENTION), ("mlp", MLP), ("block", BLOCK)):
        np.testing.assert_allclose(getattr(found, name), recorded, atol=1e-3, err_msg=name)


def test_perplexity_and_damage(subject, corpus, found):
    """Four attention sublayers cost about half of what four MLPs cost."""
    by_kind = {kind: measured(subject, corpus, most_redundant(found, kind, 4)) for kind in ("attention", "mlp")}
    attention, mlp = by_kind["attention"], by_kind["mlp"]
    assert 15.5 < attention.dense_perplexity == mlp.dense_perplexity < 19.5
    assert 0.1 < attention.kl < 0.65 * mlp.kl
    assert attention.dense_perplexity < attention.perplexity < mlp.perplexity < 35
    assert attention.top1_agreement > mlp.top1_agreement > 0.5


def test_one_forward_pass_gives_what_transformers_gives(subject, corpus):
    """The perplexity of the dense model, from the loss of transformers on the same windows."""
    with torch.inference_mode():
        windows = torch.from_numpy(corpus.tokens)
        losses = [subject.model(input_ids=row[None], labels=row[None]).loss.item() for row in windows]
    assert np.exp(np.mean(losses)) == pytest.approx(measured(subject, corpus, parse("")).perplexity, rel=1e-4)
