"""Recorded values of the bundled model: what its keys need, where plans hurt it, and what its weights can spare."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from models.loading.load import load
from models.subject import ModelRef
from plans.cut import cut
from plans.learn import calibrate
from plans.plan import parse
from probes.base import NoParams
from probes.deviation import fidelity, generation_drift, transitions
from probes.keys import key_rank, low_rank_attention
from texts.corpus import CorpusRef, read_corpus

pytestmark = pytest.mark.real

ATTENTION, MLP = parse("a7,a25,a26,a28"), parse("m16,m17,m25,m26")  # the four that turn the stream least, of each kind
REF = CorpusRef("python-docs", windows=4, length=256)


@pytest.fixture(scope="module")
def subject():
    return load(ModelRef(dtype="float32", device="cpu"))


@pytest.fixture(scope="module")
def corpus(subject):
    return read_corpus(REF, subject.tokenizer, subject.context)


@pytest.fixture(scope="module")
def keys(subject, corpus):
    return key_rank.PROBE.run(subject, corpus, parse(""), key_rank.KeyRankParams())


def test_keys_use_half_of_their_dimensions_and_fewer_before_rotation(keys):
    """64 dimensions a head; Loki finds about 80 of 128 in larger models."""
    assert keys.mean_pre == pytest.approx(28.3, abs=0.5) and keys.mean_post == pytest.approx(35.5, abs=0.5)
    assert keys.mean_pre < keys.mean_query < keys.mean_post < keys.mean_value < 48
    assert keys.lowest_pre[0] == keys.lowest_post[0] == 0 and all(keys.rotary) and not keys.limited


def test_the_directions_of_keys_are_the_same_in_both_halves_of_a_text(keys):
    assert min(keys.overlap_post) > 0.75 > np.mean(keys.chance_post) + 0.15


@torch.inference_mode()
def test_ranks_are_those_of_sklearn_on_keys_taken_by_hand(subject, corpus, keys):
    """Before rotation from the projection itself, after it from transformers' own cache."""
    before, after = [], []
    for layer in (0, 14, 29):
        view = cut(subject)
        view.layers[layer].self_attn.k_proj.register_forward_hook(lambda module, args, out: before.append(out))
        before.clear()
        after.clear()
        for window in torch.from_numpy(corpus.tokens):
            view.logits(window[None], cache := view.cache(), last=True)
            after.append(cache.layers[layer].keys[0])
        rows = torch.cat([out.view(-1, 3, 64) for out in before])
        for head in range(3):
            assert keys.rank_pre[layer][head] == _rank(rows[:, head])
            assert keys.rank_post[layer][head] == _rank(torch.cat([each[head] for each in after]))


def _rank(rows):
    ratios = PCA(svd_solver="full").fit(rows.double().numpy()).explained_variance_ratio_
    return int((ratios.cumsum() < 0.9).sum()) + 1


def test_leading_dimensions_find_the_keys_that_matter(subject):
    """On a short window: half of the keys cost next to nothing if few dimensions choose them, and much if chance does."""
    corpus = read_corpus(CorpusRef("python-docs", windows=1, length=128), subject.tokenizer, subject.context)
    params = low_rank_attention.LowRankParams(dims="0.5,0.25", top="0.5")
    found = low_rank_attention.PROBE.run(subject, corpus, parse(""), params)
    half, quarter = found.perplexity[:, 0] / found.dense_perplexity
    exact, last, random = (found.baseline_perplexity[way][0] / found.dense_perplexity for way in ("exact", "last", "random"))
    assert abs(half - 1) < 0.08 and abs(exact - 1) < 0.08 and half < 1.2 * quarter
    assert quarter < 0.8 * last and last < random
    assert (found.mass[:, 0, 0] <= found.mass_exact[:, 0] + 1e-6).all()
    assert found.overall["recall"][0, 0] > found.overall["recall"][1, 0] > 0.6


def test_wanda_spares_what_magnitude_destroys(subject, corpus):
    """Half of the weights; calibrated on the windows that follow those measured."""
    following = torch.from_numpy(read_corpus(REF.following, subject.tokenizer, subject.context).tokens)

    def perplexity(text):
        learned = calibrate(subject, parse(text), following)
        return fidelity.PROBE.run(subject, corpus, learned, NoParams()).perplexity

    assert 25 < perplexity("w:wanda@0.5") < 35
    assert perplexity("w:magnitude@0.5") > 150


@pytest.mark.parametrize(
    ("plan", "kl", "cosines"), [(ATTENTION, 0.251, (0.971, 0.867, 0.922)), (MLP, 0.245, (0.936, 0.925, 0.955))]
)
def test_transitions_as_recorded(subject, corpus, plan, kl, cosines):
    """At the end of the model: cosines of h, z and p, in an order that is the plan's own and not always h ≥ z ≥ p."""
    found = transitions.PROBE.run(subject, corpus, plan, transitions.TransitionsParams())
    end = found.cumulative
    assert end.kl[-1] == pytest.approx(kl, rel=0.03)
    assert (end.h_cosine[-1], end.z_cosine[-1], end.p_cosine[-1]) == pytest.approx(cosines, abs=0.01)
    assert end.kl[0] == 0 and len(end.kl) == 31
    alone = {part: getattr(found, part) for part in ("attention", "mlp")}
    assert np.mean(alone["mlp"].kl) > 2 * np.mean(alone["attention"].kl)


def test_one_sublayer_alone_as_plain_transformers_has_it(subject, corpus):
    """Attention of layer 12: the stream after it and without it, through final norm and head."""
    found, kls = transitions.PROBE.run(subject, corpus, parse(""), transitions.TransitionsParams()).attention, []
    view, held = cut(subject), {}
    view.layers[12].register_forward_pre_hook(lambda m, args, kwargs: held.update(h=args[0]), with_kwargs=True)
    view.layers[12].self_attn.register_forward_hook(lambda m, args, out: held.update(a=out[0]))
    for window in torch.from_numpy(corpus.tokens):
        view.logits(window[None], last=True)
        with torch.inference_mode():
            streams = (held["h"] + held["a"])[0, -1], held["h"][0, -1]
            p, q = (view.head(view.final_norm(each)).double().log_softmax(-1) for each in streams)
        kls.append((p.exp() * (p - q)).sum().item())
    assert found.kl[12] == pytest.approx(np.mean(kls), rel=1e-3)


def test_generation_falls_apart_at_the_first_words(subject):
    """On the dense model's text four MLPs cost several times what four attentions cost, which is already too much."""
    prompts = "What is the capital of France?\nName three fruits."
    params = generation_drift.DriftParams(prompts=prompts, length=16)
    found, worse = (generation_drift.PROBE.run(subject, None, plan, params) for plan in (ATTENTION, MLP))
    assert found.dense_texts[0] == "The capital of France is Paris." and "Paris" not in found.texts[0]
    assert found.divergence == [0, 2] and found.running[:8] == [2] * 8 and found.running[-1] == 0
    kl, worse_kl = (np.nanmean(each.forced["kl"]) for each in (found, worse))
    assert 0.05 < kl < worse_kl < 5 and np.nanmean(worse.free["kl"]) > 1
    assert np.nanmean(found.forced["p_cosine"]) > np.nanmean(worse.forced["p_cosine"])
