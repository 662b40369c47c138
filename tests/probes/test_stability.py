"""Choices on variants of the calibration: which variants there are, what they choose, and what is kept."""

import importlib
import math
from itertools import combinations

import numpy as np
import pytest
import torch

from models.loading.load import load
from models.subject import ModelRef
from plans.cut import cut
from plans.plan import EMPTY, parse
from probes.search.params import SearchParams
from probes.search.search import PROBE as SEARCH
from probes.search.stability import PROBE, StabilityParams, chance_overlap
from probes.search.variants import SAME, SEED, variants
from refusal import Refusal
from tests.models.tiny import tiny_model
from tests.probes.subjects import corpus_of, subject_of
from texts.corpus import CorpusRef, read_corpus

variants_module = importlib.import_module("probes.search.variants")


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """Two texts of random words."""
    folder, dice = tmp_path_factory.mktemp("texts"), np.random.default_rng(0)
    for name in ("one", "other"):
        words = dice.choice("the capital of France is Paris and arts more than some was in it".split(), 600)
        (folder / f"{name}.txt").write_text(" ".join(words))
    return folder


@pytest.fixture(scope="module")
def subject(tiny_folder):
    return load(ModelRef(str(tiny_folder), dtype="float32", device="cpu"))


@pytest.fixture(scope="module")
def corpus(subject, texts):
    return read_corpus(CorpusRef(str(texts / "one.txt"), 4, 24), subject.tokenizer, subject.context)


@pytest.fixture(scope="module")
def params(texts):
    return StabilityParams(other=str(texts / "other.txt"))


@pytest.fixture(scope="module")
def found(subject, corpus, params):
    return PROBE.run(subject, corpus, EMPTY, params)


def test_every_variant_is_chosen_on(found, texts):
    assert found.variants == [SAME, "the windows after these", "with BOS", "in the chat template", str(texts / "other.txt")]
    assert not found.missing and all(len(parse(plan).operations) == 1 for plan in found.plans)


def test_a_variant_chooses_as_a_search_on_its_text_does(found, subject, texts):
    other = read_corpus(CorpusRef(str(texts / "other.txt"), 4, 24), subject.tokenizer, subject.context)
    after = read_corpus(CorpusRef(str(texts / "one.txt"), 4, 24, skip=4), subject.tokenizer, subject.context)
    bos = read_corpus(CorpusRef(str(texts / "one.txt"), 4, 24, bos=True), subject.tokenizer, subject.context)
    for name, tokens in ((str(texts / "other.txt"), other), ("the windows after these", after), ("with BOS", bos)):
        alone = SEARCH.run(subject, tokens, EMPTY, SearchParams(points=1, strategies="kl", draws=1))
        assert found.plans[found.variants.index(name)] == alone.plans[0]


def test_windows_in_the_template_say_so(subject, corpus):
    made, _ = variants(subject, corpus, "")
    for window, plain in zip(made["in the chat template"].tokens, corpus.tokens, strict=True):
        text = subject.tokenizer.decode(window)
        assert text.startswith("<s>user: ") and subject.tokenizer.decode(plain).startswith(text.removeprefix("<s>user: ")[:10])
    assert len({each.tokens.shape for each in made.values()}) == 1


def test_costs_are_those_of_plain_passes_on_windows_nobody_chose_on(found, subject, corpus):
    for i, plan in enumerate(found.plans):
        for k, window in enumerate(corpus.tokens[2:]):
            tokens = torch.from_numpy(window[None])
            p, q = (cut(subject, each).logits(tokens)[0, :-1].double().log_softmax(-1) for each in (EMPTY, parse(plan)))
            assert found.window_kl[i, k] == pytest.approx((p.exp() * (p - q)).sum(-1).mean().item(), rel=1e-4)
    np.testing.assert_allclose(found.kl, found.window_kl.mean(1))
    assert not found.differs[0] and np.all(found.kl_low <= found.kl + 1e-12) and np.all(found.kl <= found.kl_high + 1e-12)


def test_overlaps_are_counted(found):
    sets = [set(str(plan).split(",")) for plan in map(expanded, found.plans)]
    for i, j in combinations(range(len(sets)), 2):
        assert found.overlap[i, j] == found.overlap[j, i] == len(sets[i] & sets[j]) / len(sets[i] | sets[j])
    assert np.all(np.diag(found.overlap) == 1)
    pairs = [found.overlap[i, j] for i, j in combinations(range(len(sets)), 2)]
    assert found.mean_overlap == pytest.approx(np.mean(pairs))


def expanded(plan):
    """A plan with its blocks as their sublayers."""
    from plans.drops import dropped

    drops = dropped(parse(plan))
    return ",".join([f"a{i}" for i in drops.no_attention] + [f"m{i}" for i in drops.no_mlp])


def test_the_overlap_by_chance_is_about_that_of_random_plans():
    dice = np.random.default_rng(0)
    drawn = [set(dice.choice(60, 15, replace=False)) for _ in range(400)]
    mean = np.mean([len(a & b) / len(a | b) for a, b in zip(drawn[::2], drawn[1::2], strict=True)])
    assert chance_overlap(15, 60) == pytest.approx(mean, abs=0.02)
    assert chance_overlap(4, 4) == 1 and chance_overlap(0, 8) == 1


def test_what_was_chosen_is_not_chosen_again(subject, corpus, params, found, monkeypatch):
    memory = {}
    PROBE.run(subject, corpus, EMPTY, params, memory=memory)
    assert len(memory) == len(found.variants)
    monkeypatch.setattr(variants_module, "_as_chat", lambda subject, corpus: corpus)  # another text under the same name
    again = PROBE.run(subject, corpus, EMPTY, params, memory=memory)
    assert again.plans == found.plans


def test_a_strategy_that_draws_is_asked_with_another_seed(subject, corpus):
    found = PROBE.run(subject, corpus, EMPTY, StabilityParams("random", other=""))
    assert found.variants[-1] == SEED and found.plans[-1] != found.plans[0]


def test_what_cannot_be_made_is_told():
    """A plain tokenizer has neither BOS nor template, and the text is no text at all."""
    subject = subject_of(tiny_model("llama"))
    made, missing = variants(subject, corpus_of(torch.zeros(4, 16, dtype=torch.int64)), "")
    assert set(made) == {SAME} and "no chat template" in missing["in the chat template"] and len(missing) == 3
    assert math.isnan(
        PROBE.run(subject, corpus_of(torch.arange(64).view(4, 16)), EMPTY, StabilityParams(other="")).mean_overlap
    )


@pytest.mark.parametrize(
    ("given", "says"), [({"strategy": "best"}, "no strategy 'best'"), ({"share": 1.5}, "1.5"), ({"unit": "layers"}, "'layers'")]
)
def test_bad_parameters_are_refused(given, says):
    with pytest.raises(Refusal, match=says):
        StabilityParams(**given)
