"""Key ranks against a slow loop, scikit-learn and closed forms."""

import gc
from dataclasses import fields

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from cache.codec import decode, encode
from plans.plan import Plan
from probes.base import as_dict, from_dict, read_params
from probes.keys.key_rank import PROBE, KeyRankParams, KeyRankResult
from probes.keys.key_sums import KeySums
from refusal import Refusal
from tests.models.tiny import TINY, tiny_model, tokens
from tests.probes.subjects import corpus_of, subject_of
from texts.corpus import Corpus, CorpusRef


def ask(model, ids, **params):
    return PROBE.run(subject_of(model), corpus_of(ids), Plan(), KeyRankParams(**params))


@torch.inference_mode()
def keys_of(model, ids):
    """Keys as attention sees them, float64 (layers, windows, tokens, heads, head_dim), from the cache of the dense model."""
    layers = model(input_ids=ids, use_cache=True).past_key_values.layers
    return np.stack([layer.keys.transpose(1, 2).double().numpy() for layer in layers])


def rank(keys, level=0.9):
    """By scikit-learn, of keys (tokens, head_dim)."""
    return int((PCA().fit(keys).explained_variance_ratio_.cumsum() < level - 1e-12).sum()) + 1


@pytest.fixture(scope="module")
def llama():
    """A model, windows, and what the probe finds."""
    model, ids = tiny_model("llama"), tokens(6, 30)
    return model, ids, ask(model, ids)


def test_ranks_and_spectra_agree_with_scikit_learn(llama):
    model, ids, found = llama
    keys = keys_of(model, ids).reshape(5, 180, 2, 8)
    for layer in range(5):
        for head in range(2):
            fitted = PCA().fit(keys[layer, :, head])
            np.testing.assert_allclose(found.spectra_post[layer, head], fitted.explained_variance_ratio_, atol=1e-6)
            eigenvalues = found.variance_post[layer, head] * found.spectra_post[layer, head]
            np.testing.assert_allclose(eigenvalues, fitted.explained_variance_, rtol=1e-4)
            assert found.rank_post[layer][head] == rank(keys[layer, :, head])
            assert found.ranks_post[:, layer, head].tolist() == [
                rank(keys[layer, :, head], level) for level in (0.8, 0.9, 0.95, 0.99)
            ]
    assert (found.layers, found.heads, found.query_heads, found.head_dim, found.value_dim) == (5, 2, 4, 8, 8)
    assert found.tokens == 180 and found.rotary == [True] * 5 and not found.limited and not found.overlap_limited


def test_the_first_position_can_be_left_out(llama):
    model, ids, found = llama
    keys = keys_of(model, ids)[:, :, 1:].reshape(5, 174, 2, 8)
    for layer in range(5):
        for head in range(2):
            exact = PCA().fit(keys[layer, :, head]).explained_variance_ratio_
            np.testing.assert_allclose(found.without_first.spectra[layer, head], exact, atol=1e-6)
            assert found.without_first.rank[layer][head] == rank(keys[layer, :, head])
    assert found.without_first.mean == pytest.approx(np.mean(found.without_first.rank))


def test_the_uncentred_ranks_leave_the_mean_in(llama):
    model, ids, found = llama
    keys = keys_of(model, ids).reshape(5, 180, 2, 8)
    for layer in range(5):
        for head in range(2):
            squares = np.linalg.svd(keys[layer, :, head], compute_uv=False) ** 2
            assert found.rank_post_uncentred[layer][head] == (squares.cumsum() / squares.sum() < 0.9).sum() + 1


def test_the_overlap_compares_the_halves(llama):
    model, ids, found = llama
    keys = keys_of(model, ids).reshape(5, 180, 2, 8)
    for layer in range(5):
        overlaps = []
        for head in range(2):
            r = found.rank_post[layer][head]
            one, other = (PCA().fit(part).components_[:r] for part in (keys[layer, :90, head], keys[layer, 90:, head]))
            overlaps.append((np.linalg.svd(one @ other.T, compute_uv=False) ** 2).mean())
        assert found.overlap_post[layer] == pytest.approx(np.mean(overlaps), abs=1e-5)
        assert found.chance_post[layer] == pytest.approx(np.mean(found.rank_post[layer]) / 8)
    assert found.compared == "halves"


def test_the_model_is_summed_up_over_layers(llama):
    found = llama[2]
    for name in ("pre", "post", "value", "query"):
        layers = np.mean(getattr(found, f"rank_{name}"), axis=1)
        assert getattr(found, f"mean_{name}") == pytest.approx(layers.mean())
        assert getattr(found, f"spread_{name}") == pytest.approx(layers.std())
    assert [np.mean(found.rank_post[layer]) for layer in found.lowest_post] == sorted(np.mean(found.rank_post, axis=1))
    assert sorted(found.lowest_pre) == list(range(5))


@pytest.mark.parametrize("windows", [1, 3, 4])
def test_halves_add_up_however_many_windows(windows):
    model, ids = tiny_model("llama"), tokens(windows, 21)
    keys = torch.from_numpy(keys_of(model, ids)[0])
    sums = KeySums(ids.numel() // 2)
    for window in keys:
        sums.add(0, dict.fromkeys(("pre", "post", "value", "query"), window.float()))
        sums.seen += len(window)
    sums.finish()
    one, other = sums.halves["post"]
    assert one[0].count == windows * 21 // 2 and one[0].count + other[0].count == sums.kinds["post"][0].count == windows * 21
    flat = keys.float().double().flatten(0, 1).numpy()
    for head in range(2):
        half = windows * 21 // 2
        for seen, part in ((one, flat[:half]), (other, flat[half:]), (sums.kinds["post"], flat)):
            np.testing.assert_allclose(seen[0].covariance()[head], np.cov(part[:, head].T), atol=1e-12)


@pytest.mark.parametrize("name", TINY)
def test_every_family_can_be_asked(name):
    found = ask(tiny_model(name), tokens(2, 16))
    for kind in ("pre", "post", "value"):
        spectra = getattr(found, f"spectra_{kind}")
        np.testing.assert_allclose(spectra.sum(-1), 1)
        assert (np.diff(spectra, axis=-1) <= 0).all() and np.shape(getattr(found, f"rank_{kind}")) == spectra.shape[:2]
    assert np.shape(found.rank_query) == (5, found.query_heads) and found.ranks_pre.shape == (4, 5, found.heads)
    for layer, rotary in enumerate(found.rotary):
        assert rotary or found.rank_pre[layer] == found.rank_post[layer]
    assert all(0 <= overlap <= 1 + 1e-9 for overlap in found.overlap_pre + found.overlap_post)
    stored = encode(as_dict(found))
    assert encode(as_dict(from_dict(KeyRankResult, decode(stored)))) == stored


def test_keys_without_rotation_have_a_lower_rank_when_rotation_adds_dimensions():
    model = tiny_model("llama")
    for block in model.model.layers:  # every key lies on one line, until it is turned
        block.self_attn.k_proj.weight.copy_(torch.ones(16, 1) * block.self_attn.k_proj.weight[:1])
        block.self_attn.k_proj.bias.zero_()
    found = ask(model, tokens(4, 30))
    assert np.max(found.rank_pre) == 1 and np.min(found.rank_post) >= 3
    np.testing.assert_allclose(found.effective_rank_pre, 1, atol=1e-4)
    np.testing.assert_allclose(found.participation_pre, 1, atol=1e-4)


def test_constant_keys_use_no_dimension():
    model = tiny_model("gpt2")
    for block in model.transformer.h:
        block.attn.c_attn.weight[:, 32:64] = 0
    found = ask(model, tokens(4, 30))
    assert found.rank_pre == found.rank_post == [[0] * 4] * 5 and np.max(found.rank_post_uncentred) == 1
    assert found.mean_post == 0 and not found.spectra_post.any() and not found.effective_rank_post.any()
    assert np.min(found.rank_value) > 0 and found.overlap_post == [1] * 5
    assert all(np.isfinite(getattr(found, each.name)).all() for each in fields(found) if each.name.startswith("mean"))


def test_fewer_tokens_than_dimensions_are_told():
    model = tiny_model("llama")
    few, some, many = (ask(model, tokens(1, length)) for length in (6, 12, 40))
    assert few.limited and few.overlap_limited and np.max(few.ranks_post) <= 5
    assert not some.limited and some.overlap_limited
    assert not many.limited and not many.overlap_limited


class Words:
    """Splits at spaces; every token is a number."""

    bos_token_id = None

    def __call__(self, text, **_):
        return type("Batch", (), {"input_ids": [int(word) for word in text.split()]})


def test_the_basis_is_compared_on_another_text(tmp_path):
    model, ids, elsewhere = tiny_model("llama"), tokens(2, 30), tokens(3, 30, seed=5)
    path = str(tmp_path / "other.txt")
    (tmp_path / "other.txt").write_text(" ".join(str(int(each)) for each in elsewhere.flatten()))
    corpus = Corpus(CorpusRef("tiny", 2, 30), ids.numpy(), "0" * 64)
    told = []
    params = KeyRankParams(other=path)
    found = PROBE.run(subject_of(model, Words()), corpus, Plan(), params, lambda *each: told.append(each))
    one, other = keys_of(model, ids).reshape(5, 60, 2, 8), keys_of(model, elsewhere[:2]).reshape(5, 60, 2, 8)
    overlaps = []
    for head in range(2):
        r = found.rank_post[3][head]
        cosines = PCA().fit(one[3, :, head]).components_[:r] @ PCA().fit(other[3, :, head]).components_[:r].T
        overlaps.append((np.linalg.svd(cosines, compute_uv=False) ** 2).mean())
    assert found.overlap_post[3] == pytest.approx(np.mean(overlaps), abs=1e-5)
    assert found.compared == "texts" and found.tokens == 60
    assert list(dict.fromkeys(done for done, _, _ in told)) == [0, 1, 2, 3, 4] and {total for _, total, _ in told} == {4}
    with pytest.raises(Refusal, match="Both texts are tiny"):
        ask(model, ids, other="tiny")
    with pytest.raises(Refusal, match="There is no text"):
        PROBE.run(subject_of(model, Words()), corpus, Plan(), KeyRankParams(other="nowhere"))


def test_one_text_compared_with_itself_under_another_name_is_the_same(tmp_path):
    model, ids = tiny_model("llama"), tokens(2, 30)
    path = str(tmp_path / "same.txt")
    (tmp_path / "same.txt").write_text(" ".join(str(int(each)) for each in ids.flatten()))
    corpus = Corpus(CorpusRef("tiny", 2, 30), ids.numpy(), "0" * 64)
    found = PROBE.run(subject_of(model, Words()), corpus, Plan(), KeyRankParams(other=path))
    np.testing.assert_allclose(found.overlap_pre + found.overlap_post, 1)


@pytest.mark.parametrize("level", [0, -0.1, 1.01, 90, float("nan"), float("inf")])
def test_a_level_that_is_no_share_is_refused(level):
    with pytest.raises(Refusal, match="not a share of the variance"):
        KeyRankParams(level=level)
    with pytest.raises(Refusal, match="not a share of the variance"):
        read_params(PROBE, {"level": str(level)})


def test_parameters_are_read_from_text():
    assert read_params(PROBE, {"level": "0.95", "other": "wikitext-2-raw"}) == KeyRankParams(0.95, "wikitext-2-raw")
    with pytest.raises(Refusal, match="does not fit"):
        read_params(PROBE, {"level": "most"})


def test_a_level_of_all_counts_every_dimension():
    found = ask(tiny_model("llama"), tokens(4, 30), level=1.0)
    assert found.rank_post == [[8, 8]] * 5


def test_heads_of_one_dimension_are_refused():
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=97, n_embd=4, n_head=4, n_layer=2, n_positions=64, bos_token_id=1, eos_token_id=2)
    with pytest.raises(Refusal, match="one dimension"):
        ask(GPT2LMHeadModel(config).eval().requires_grad_(False), tokens(2, 16))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("projection", ["q_proj", "k_proj", "v_proj"])
def test_states_that_are_not_numbers_are_refused(bad, projection):
    model = tiny_model("llama")
    getattr(model.model.layers[4].self_attn, projection).weight[0, 0] = bad
    with pytest.raises(Refusal, match="NaN or infinite"):
        ask(model, tokens())


def test_layers_that_differ_are_refused():
    sums, states = KeySums(4), torch.randn(4, 2, 8)
    sums.add(0, dict.fromkeys(("pre", "post", "value", "query"), states))
    with pytest.raises(Refusal, match="differ in their number of heads"):
        sums.add(1, dict.fromkeys(("pre", "post", "value", "query"), states[:, :1]))


def test_half_precision_is_summed_in_double():
    model = tiny_model("llama").to(torch.bfloat16)
    found = ask(model, tokens(4, 40))
    exact = ask(tiny_model("llama"), tokens(4, 40))
    np.testing.assert_allclose(found.spectra_post, exact.spectra_post, atol=0.02)
    keys = keys_of(model, tokens(4, 40)[:1]).reshape(5, 40, 2, 8)
    one = ask(model, tokens(4, 40)[:1])
    np.testing.assert_allclose(one.spectra_post[0, 0], PCA().fit(keys[0, :, 0]).explained_variance_ratio_, atol=1e-12)


def test_memory_does_not_grow_with_windows():
    def held(window, *_):
        if window in (6, 9):  # the sums of the second half have begun, and three windows more
            gc.collect()
            kept.append(sum(each.nbytes for each in gc.get_objects() if type(each) is torch.Tensor))

    kept = []
    PROBE.run(subject_of(tiny_model("llama")), corpus_of(tokens(10, 16)), Plan(), KeyRankParams(), held)
    assert kept[1] <= kept[0]
