"""Corpora: how a text is cut into windows."""

import numpy as np
import pytest
from transformers import AutoTokenizer

from refusal import Refusal
from texts.corpus import CorpusRef, keep_text, read_corpus, read_text


@pytest.fixture(scope="module")
def tokenizer(tiny_folder):
    return AutoTokenizer.from_pretrained(tiny_folder)


def test_windows_are_the_text_from_its_start(tokenizer):
    corpus = read_corpus(CorpusRef(windows=5, length=64), tokenizer)
    assert corpus.tokens.shape == (5, 64)
    assert corpus.tokens.dtype == np.int64
    assert read_text("prose").startswith(tokenizer.decode(corpus.tokens.ravel()))


def test_a_larger_corpus_starts_with_the_smaller(tokenizer):
    few, many = (read_corpus(CorpusRef(windows=windows, length=32), tokenizer).tokens for windows in (3, 9))
    assert (many[:3] == few).all()


@pytest.mark.parametrize("bos", [False, True])
def test_the_windows_that_follow_are_those_a_larger_corpus_goes_on_with(tokenizer, bos):
    ref = CorpusRef(windows=3, length=32, bos=bos)
    following = read_corpus(ref.following, tokenizer).tokens
    assert (following == read_corpus(CorpusRef(windows=6, length=32, bos=bos), tokenizer).tokens[3:]).all()
    assert (read_corpus(ref.following.following, tokenizer).tokens != following).any()


def test_a_text_that_ends_before_what_follows(tokenizer):
    ref = CorpusRef(keep_text("é" * 50), windows=3, length=32)
    assert read_corpus(ref, tokenizer).tokens.shape == (3, 32)
    with pytest.raises(Refusal, match="ends after 3 windows of 32 tokens, and calibration needs windows after the 3"):
        read_corpus(ref.following, tokenizer)
    with pytest.raises(Refusal, match="-1 windows cannot be skipped"):
        CorpusRef(skip=-1)


def test_bos_starts_each_window_and_no_text_is_lost(tokenizer):
    plain = read_corpus(CorpusRef(windows=3, length=32), tokenizer).tokens
    corpus = read_corpus(CorpusRef(windows=3, length=33, bos=True), tokenizer).tokens
    assert (corpus[:, 0] == tokenizer.bos_token_id).all()
    assert (corpus[:, 1:] == plain).all()


def test_a_short_text_gives_the_windows_it_has(tokenizer):
    name = keep_text("é" * 50)  # two bytes and two tokens each
    assert read_corpus(CorpusRef(name, windows=8, length=30), tokenizer).tokens.shape == (3, 30)


def test_digest_tells_tokens_and_shape_apart(tokenizer):
    digests = {
        read_corpus(CorpusRef(windows=windows, length=length), tokenizer).digest
        for windows, length in ((4, 32), (2, 64), (8, 16), (3, 32))
    }
    assert len(digests) == 4
    assert read_corpus(CorpusRef(windows=4, length=32), tokenizer).digest in digests


@pytest.mark.parametrize(
    "ref, says",
    [
        (lambda: CorpusRef(windows=0), "0 windows"),
        (lambda: CorpusRef(length=1), "length of 2"),
        (lambda: CorpusRef(keep_text("short"), length=64), "fewer than one window"),
        (lambda: CorpusRef(length=129), "reads at most 128"),
        (lambda: CorpusRef(keep_text(" ")), "empty"),
    ],
)
def test_refusals(tokenizer, ref, says):
    with pytest.raises(Refusal, match=says):
        read_corpus(ref(), tokenizer, context=128)


def test_bos_of_a_tokenizer_without_one(tiny_folder):
    bare = AutoTokenizer.from_pretrained(tiny_folder, bos_token=None)
    with pytest.raises(Refusal, match="no BOS"):
        read_corpus(CorpusRef(bos=True), bare)
