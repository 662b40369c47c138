"""Low-rank attention measured: against slow loops, against views run by hand, and against what must hold by definition."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from cache.codec import decode, encode
from models.attention import attend_by
from models.keys import key_basis
from plans.cut import cut
from plans.keys.choice import switch_on
from plans.plan import Plan
from probes.base import as_dict, from_dict
from probes.keys.attention_cost import decode_cost, paper_ratio, read_ratio
from probes.keys.key_agreement import captured, overlap, relative_error
from probes.keys.low_rank_attention import PROBE, LowRankParams, LowRankResult, calibration_text, shares
from refusal import Refusal
from tests.models.tiny import TINY, tiny_model, tokens
from tests.probes.subjects import subject_of
from texts.corpus import CorpusRef, read_corpus

WINDOWS, LENGTH = 2, 16
SMALL = LowRankParams(dims="0.5", top="0.5", baselines=False)


class Numbers:
    """A tokenizer for texts of token ids."""

    bos_token_id = None

    def __call__(self, text, **options):
        return SimpleNamespace(input_ids=[int(word) for word in text.split()])


def written(folder, name="text", windows=2 * WINDOWS, seed=1):
    """The path of a text of so many windows."""
    path = folder / f"{name}.txt"
    path.write_text(" ".join(str(int(i)) for i in tokens(windows, LENGTH, seed).flatten()))
    return str(path)


def corpus_of(path, windows=WINDOWS):
    return read_corpus(CorpusRef(path, windows, LENGTH), Numbers())


def asked(subject, corpus, params=SMALL, **more):
    return PROBE.run(subject, corpus, Plan(), params, **more)


@pytest.fixture(scope="module")
def subject():
    return subject_of(tiny_model("llama"), Numbers())


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return corpus_of(written(tmp_path_factory.mktemp("text")))


@pytest.fixture(scope="module")
def result(subject, corpus):
    return asked(subject, corpus, LowRankParams(dims="1,0.5,0.25", top="1,0.5"))


# What must hold


def test_the_whole_basis_with_all_keys_is_dense(result):
    assert result.kl[0, 0] < 1e-9 and result.perplexity[0, 0] == pytest.approx(result.dense_perplexity, rel=1e-6)
    for values in (result.recall, result.jaccard, result.mass):
        np.testing.assert_allclose(values[:, :, 0], 1, atol=1e-12)  # all keys are chosen, whatever the dimensions
        np.testing.assert_allclose(values[:, 0, 0], 1, atol=1e-12)
    np.testing.assert_allclose(result.error[:, :, 0], 0, atol=1e-6)
    np.testing.assert_allclose(result.mass_exact[:, 0], 1, atol=1e-12)
    for method in ("exact", "random", "last"):
        assert result.baseline_perplexity[method][0] == pytest.approx(result.dense_perplexity, rel=1e-6)


def test_all_dimensions_choose_the_best_keys(result):
    np.testing.assert_allclose(result.recall[:, 0], 1, atol=1e-12)
    np.testing.assert_allclose(result.mass[:, 0], result.mass_exact, atol=1e-12)
    np.testing.assert_allclose(result.perplexity[0], result.baseline_perplexity["exact"], rtol=1e-5)
    assert result.baseline_kl["pca"][0] < 1e-6, "softmax over the scores in all dimensions is dense attention"


def test_no_choice_carries_more_mass_than_the_best_one(result):
    assert (result.mass <= result.mass_exact[:, None] + 1e-12).all()
    assert (result.jaccard <= result.recall + 1e-12).all() and (result.recall[:, 1:, 1] < 1).all()
    assert (result.kl >= 0).all() and result.kl[2, 1] > 1e-4


def test_the_shape_of_the_answer(result):
    assert result.dims == [1, 0.5, 0.25] and result.top == [1, 0.5] and result.layers == list(range(5))
    assert (result.heads, result.kv_heads, result.head_dim) == ([4] * 5, [2] * 5, [8] * 5)
    assert result.recall.shape == result.error.shape == (5, 3, 2) and result.mass_exact.shape == (5, 2)
    assert result.perplexity.shape == result.kl.shape == result.cost.shape == (3, 2)
    assert result.cost.tolist() == [[1.5, 1.5], [1.25, 1.25], [1.125, 1.125]]  # two query heads share a key head
    assert result.paper_cost.tolist() == [[1.5, 1], [1.25, 0.75], [1.125, 0.625]]
    assert {name: values.shape for name, values in result.baseline_kl.items()} == {
        "exact": (2,), "random": (2,), "last": (2,), "pca": (3,)
    }  # fmt: skip
    assert result.tokens == WINDOWS * (LENGTH - 1) and result.calibration_tokens == WINDOWS * LENGTH
    assert result.calibrated_on == "windows 2 to 3 of the measured text"
    again = from_dict(LowRankResult, decode(encode(as_dict(result))))
    assert again.front == result.front and np.array_equal(again.error, result.error)
    assert np.array_equal(again.baseline_kl["pca"], result.baseline_kl["pca"])


# Second opinions


def test_predictions_are_those_of_a_view_run_by_hand(subject, corpus):
    params = LowRankParams(dims="0.25", top="0.5", seed=5)
    found = asked(subject, corpus, params)
    learned = read_corpus(corpus.ref.following, Numbers()).tokens
    basis = key_basis(cut(subject), torch.from_numpy(learned))
    ids = torch.from_numpy(corpus.tokens)
    dense = subject.model(input_ids=ids, use_cache=False).logits[:, :-1].double()

    def by_hand(method, dims, top):
        view = cut(subject)
        logits = []
        for i, window in enumerate(ids):
            switch_on(view, basis, dims, top, method, seeds=[5 + i])
            logits.append(view.logits(window[None])[:, :-1].double())
        log_q, log_p = torch.cat(logits).log_softmax(-1), dense.log_softmax(-1)
        nll = torch.nn.functional.nll_loss(log_q.flatten(0, 1), ids[:, 1:].flatten())
        return nll.exp().item(), (log_p.exp() * (log_p - log_q)).sum(-1).mean().item()

    assert (found.perplexity[0, 0], found.kl[0, 0]) == pytest.approx(by_hand("loki", 0.25, 0.5), rel=1e-4)
    for method, dims, top in (("exact", 1, 0.5), ("random", 1, 0.5), ("last", 1, 0.5), ("pca", 0.25, 1)):
        ours = (found.baseline_perplexity[method][0], found.baseline_kl[method][0])
        assert ours == pytest.approx(by_hand(method, dims, top), rel=1e-4), method


def test_agreement_is_that_of_a_slow_loop(subject, corpus):
    """Sets of Python, one head and row at a time, in float64, for a layer with two query heads per key head."""
    found = asked(subject, corpus, LowRankParams(dims="0.5", top="0.25", baselines=False))
    learned = read_corpus(corpus.ref.following, Numbers()).tokens
    basis = key_basis(cut(subject), torch.from_numpy(learned))[2].double().numpy()
    view, taken = cut(subject), []

    def keep(attend, query, key, value, mask):
        taken.append([each[0].double().numpy() for each in (query, key, value)])
        return attend(query, key, value, mask)

    def leave(attend, *tensors):
        return attend(*tensors)

    attend_by(view, {i: keep if i == 2 else leave for i in view.attentions})
    for window in torch.from_numpy(corpus.tokens):
        view.logits(window[None])
    recalls, jaccards, masses, best_masses, errors = [], [], [], [], []
    for query, key, value in taken:
        for row in range(LENGTH // 4, LENGTH):
            k, dense, sparse = max(1, (row + 1) // 4), [], []
            for head in range(4):
                keys, values, down = key[head // 2, : row + 1], value[head // 2, : row + 1], basis[head // 2, :4]
                scores, low = keys @ query[head, row], (keys @ down.T) @ (down @ query[head, row])
                weights = np.exp(scores / math.sqrt(8) - (scores / math.sqrt(8)).max())
                ideal, chosen = (set(np.argsort(-each)[:k].tolist()) for each in (scores, low))
                recalls.append(len(ideal & chosen) / k)
                jaccards.append(len(ideal & chosen) / len(ideal | chosen))
                masses.append(weights[list(chosen)].sum() / weights.sum())
                best_masses.append(weights[list(ideal)].sum() / weights.sum())
                dense.append(weights @ values / weights.sum())
                sparse.append(weights[list(chosen)] @ values[list(chosen)] / weights[list(chosen)].sum())
            errors.append(np.linalg.norm(np.subtract(dense, sparse)) / np.linalg.norm(dense))
    assert found.recall[2, 0, 0] == pytest.approx(np.mean(recalls), abs=1e-9)
    assert found.jaccard[2, 0, 0] == pytest.approx(np.mean(jaccards), abs=1e-9)
    assert found.mass[2, 0, 0] == pytest.approx(np.mean(masses), abs=1e-5)
    assert found.mass_exact[2, 0] == pytest.approx(np.mean(best_masses), abs=1e-5)
    assert found.error[2, 0, 0] == pytest.approx(np.mean(errors), abs=1e-5)


def test_agreement_on_the_worked_example():
    chosen, ideal = torch.zeros(2, 6, dtype=torch.bool)
    chosen[[2, 1, 3]] = ideal[[1, 4, 0]] = True
    recall, jaccard = overlap(chosen, ideal)
    assert (recall.item(), jaccard.item()) == pytest.approx((1 / 3, 0.2))
    scores = torch.tensor([1.228761, 1.824118, 1.014329, -0.507222, 1.427782, -0.174670], dtype=torch.float64)
    assert captured(scores.softmax(-1), chosen).item() == pytest.approx(0.531442, abs=1e-6)
    assert captured(0.3 * scores.softmax(-1), ideal).item() == pytest.approx(0.766481, abs=1e-6)  # a sink took 70 %
    output = torch.tensor([[[[3.0, 0.0], [0.0, 4.0]]]])
    assert relative_error(output, output * torch.tensor([1.0, 0.5])).item() == pytest.approx(2 / 5)


@pytest.mark.parametrize("name", ["mistral", "gemma2", "gpt_oss", "gpt2", "smollm3", "qwen3_moe"])
def test_windows_sinks_and_soft_caps(name, corpus):
    found = asked(subject_of(tiny_model(name), Numbers()), corpus, LowRankParams(dims="1,0.5", top="1,0.5", baselines=False))
    assert found.kl[0, 0] < 1e-9 and found.kl[1, 1] > 0
    np.testing.assert_allclose(found.mass[:, :, 0], 1, atol=1e-6)
    assert all(np.isfinite(getattr(found, field)).all() for field in ("recall", "jaccard", "mass", "error", "perplexity"))
    assert found.baseline_perplexity == found.baseline_kl == {}


# Which text


def test_nothing_is_calibrated_on_what_is_measured(tmp_path):
    measured = CorpusRef(written(tmp_path), WINDOWS, LENGTH)
    for name in ("", measured.name, written(tmp_path, "same text, other name")):
        assert calibration_text(measured, name).skip == WINDOWS
    other = written(tmp_path, "other", seed=7)
    assert calibration_text(measured, other) == CorpusRef(other, WINDOWS, LENGTH)


def test_another_text_gives_other_directions(subject, corpus, tmp_path, result):
    other = written(tmp_path, "other", windows=1, seed=7)
    found = asked(subject, corpus, LowRankParams(dims="0.5", top="0.5", baselines=False, calibrate=other))
    assert found.calibrated_on == "windows 0 to 0 of another text" and found.calibration_tokens == LENGTH
    assert found.perplexity[0, 0] != result.perplexity[1, 1]
    assert found.dense_perplexity == result.dense_perplexity


# Progress, refusals


def test_progress_counts_every_pass_and_can_cancel(subject, corpus):
    seen = []
    asked(subject, corpus, LowRankParams(dims="0.5", top="0.5,0.25"), progress=lambda *step: seen.append(step))
    steps = WINDOWS + WINDOWS * (1 + 2 + 6 + 1)  # calibration; dense, grid, three baselines per share of keys, one per rank
    assert [done for done, _, _ in seen] == list(range(steps)) and {total for _, total, _ in seen} == {steps}

    class Stop(Exception):
        pass

    def stop(done, total, text):
        if done == WINDOWS + 2:
            raise Stop

    with pytest.raises(Stop):
        asked(subject, corpus, SMALL, progress=stop)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"dims": "half"}, "'half' is not a number. Write comma-separated shares of the dimensions"),
        ({"dims": "0.5,0"}, "share of 0 of the dimensions is not valid"),
        ({"top": "1.5"}, "share of 1.5 of the keys is not valid"),
        ({"top": "nan"}, "share of nan of the keys is not valid"),
        ({"top": " , "}, "0 shares of the keys were asked for. Write 1 to 8"),
        ({"dims": ",".join(f"0.{i}" for i in range(11, 20))}, "9 shares of the dimensions"),
        ({"calibrate": "nowhere"}, "no text 'nowhere'"),
    ],
)
def test_what_cannot_be_asked_is_refused(subject, corpus, given, sentence):
    with pytest.raises(Refusal, match=sentence):
        asked(subject, corpus, LowRankParams(**{"top": "0.5", "dims": "0.5"} | given))


def test_shares_are_read_once_each_in_their_order():
    assert shares("0.125, 0.5,0.125,1", "keys") == [0.125, 0.5, 1.0]


@pytest.mark.parametrize(("name", "sentence"), [("deepseek_v2", "latent"), ("mpt", "of mpt does not go through")])
def test_families_without_the_interface_are_refused(name, sentence, corpus):
    with pytest.raises(Refusal, match=sentence):
        asked(subject_of(tiny_model(name), Numbers()), corpus)
    assert name in TINY


def test_a_text_that_ends_with_the_measured_windows_is_refused(subject, tmp_path):
    short = corpus_of(written(tmp_path, windows=WINDOWS))
    with pytest.raises(Refusal, match="calibration needs windows after"):
        asked(subject, short)


def test_a_model_of_nan_is_refused(corpus):
    model = tiny_model("llama")
    model.lm_head.weight[3] = math.nan
    with pytest.raises(Refusal, match="NaN or infinite"):
        asked(subject_of(model, Numbers()), corpus)


# Cost


def test_cost_is_counted_from_the_shapes():
    assert paper_ratio(0.25, 0.25) == 0.375
    # 3 layers of 4 heads with keys of their own, 64 dimensions, 1000 cached tokens: rank 16, 250 keys.
    cost = decode_cost(0.25, 0.25, 1000, [4] * 3, [4] * 3, [64] * 3)
    assert cost.dense_bytes == 3 * 2 * 4 * 1000 * 64 * 2
    assert cost.bytes == cost.least_bytes == 3 * 4 * (1000 * 16 + 2 * 250 * 64) * 2
    assert cost.bytes / cost.dense_bytes == paper_ratio(0.25, 0.25) == read_ratio(0.25, 0.25, [4] * 3, [4] * 3, [64] * 3)
    assert cost.dense_products == 3 * 2 * 4 * 1000 * 64
    assert cost.products == 3 * (4 * (1000 * 16 + 2 * 250 * 64) + 8 * 64 * 64)
    # Three heads that share keys may choose 750 different ones; six may choose all there are.
    grouped = [decode_cost(0.25, 0.25, 1000, [heads], [1], [64]) for heads in (3, 6)]
    assert [each.bytes for each in grouped] == [(1000 * 16 + 2 * union * 64) * 2 for union in (750, 1000)]
    assert all(each.least_bytes == (1000 * 16 + 2 * 250 * 64) * 2 for each in grouped)
    for each, heads in zip(grouped, (3, 6), strict=True):
        assert each.bytes / each.dense_bytes == read_ratio(0.25, 0.25, [heads], [1], [64])
        assert each.least_bytes / each.dense_bytes == paper_ratio(0.25, 0.25)
    # Layers of several shapes weigh as much as they hold in the cache.
    assert read_ratio(0.25, 0.5, [9, 4], [3, 4], [64, 64]) == pytest.approx((3 * 1.125 + 4 * 0.625) / 7)
    assert decode_cost(0.01, 0.01, 3, [1], [1], [64]).least_bytes == (3 * 1 + 2 * 1 * 64) * 2  # one key, one dimension


def test_keys_counted_as_loki_s_code_does_are_far_less_harsh(subject, corpus):
    """Early rows attend to all they see, so that over a text little is left out."""
    params = LowRankParams(dims="0.25", top="0.5", baselines=False)
    rows, whole = (asked(subject, corpus, replace(params, whole=whole)) for whole in (False, True))
    assert 0 < whole.kl[0, 0] < rows.kl[0, 0] and (whole.mass >= rows.mass).all()
    assert whole.cost.tolist() == rows.cost.tolist()
