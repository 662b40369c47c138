"""Corpora: where the text comes from, and how it is cut into windows."""

import hashlib
import json
import sys

import numpy as np
import pytest
from transformers import AutoTokenizer

from refusal import Refusal
from texts.corpus import CorpusRef, cut, keep_text, read_text, text_digest


@pytest.fixture(scope="module")
def tokenizer(tiny_folder):
    return AutoTokenizer.from_pretrained(tiny_folder)


def test_windows_are_the_text_from_its_start(tokenizer):
    corpus = cut(CorpusRef(windows=5, length=64), tokenizer)
    assert corpus.tokens.shape == (5, 64)
    assert corpus.tokens.dtype == np.int64
    assert read_text("python-docs").startswith(tokenizer.decode(corpus.tokens.ravel()))


def test_a_larger_corpus_starts_with_the_smaller(tokenizer):
    few, many = (cut(CorpusRef(windows=windows, length=32), tokenizer).tokens for windows in (3, 9))
    assert (many[:3] == few).all()


@pytest.mark.parametrize("bos", [False, True])
def test_the_windows_that_follow_are_those_a_larger_corpus_goes_on_with(tokenizer, bos):
    ref = CorpusRef(windows=3, length=32, bos=bos)
    following = cut(ref.following, tokenizer).tokens
    assert (following == cut(CorpusRef(windows=6, length=32, bos=bos), tokenizer).tokens[3:]).all()
    assert (cut(ref.following.following, tokenizer).tokens != following).any()


def test_a_text_that_ends_before_what_follows(tokenizer):
    ref = CorpusRef(keep_text("é" * 50), windows=3, length=32)
    assert cut(ref, tokenizer).tokens.shape == (3, 32)
    with pytest.raises(Refusal, match="ends after 3 windows of 32 tokens, and calibration needs windows after the 3"):
        cut(ref.following, tokenizer)
    with pytest.raises(Refusal, match="-1 windows cannot be skipped"):
        CorpusRef(skip=-1)


def test_bos_starts_each_window_and_no_text_is_lost(tokenizer):
    plain = cut(CorpusRef(windows=3, length=32), tokenizer).tokens
    corpus = cut(CorpusRef(windows=3, length=33, bos=True), tokenizer).tokens
    assert (corpus[:, 0] == tokenizer.bos_token_id).all()
    assert (corpus[:, 1:] == plain).all()


def test_a_short_text_gives_the_windows_it_has(tokenizer):
    name = keep_text("é" * 50)  # two bytes and two tokens each
    assert cut(CorpusRef(name, windows=8, length=30), tokenizer).tokens.shape == (3, 30)


def test_digest_tells_tokens_and_shape_apart(tokenizer):
    digests = {
        cut(CorpusRef(windows=windows, length=length), tokenizer).digest
        for windows, length in ((4, 32), (2, 64), (8, 16), (3, 32))
    }
    assert len(digests) == 4
    assert cut(CorpusRef(windows=4, length=32), tokenizer).digest in digests


def test_python_docs_are_long_prose():
    text = read_text("python-docs")
    assert len(text) > 300_000
    assert 'The "if" statement is used for conditional execution' in " ".join(text.split())


def test_kept_text_comes_back_as_it_was():
    text = "one\r\ntwo\n\n  drei: ß 🙂 "
    name = keep_text(text)
    assert name == "text:" + hashlib.sha256(text.encode()).hexdigest() == keep_text(text)
    assert read_text(name) == text
    assert "text:" + text_digest(name) == name


def test_files(tmp_path):
    (tmp_path / "a.txt").write_text("prose", encoding="utf-8")
    (tmp_path / "a.jsonl").write_text('{"text": "one", "id": 1}\n\n{"text": "two"}\n', encoding="utf-8")
    assert read_text(str(tmp_path / "a.txt")) == "prose"
    assert read_text(str(tmp_path / "a.jsonl")) == "one\n\ntwo"


@pytest.mark.parametrize(
    "name, content, says",
    [
        ("a.jsonl", b'{"text": "one"}\n{"text": ', "Line 2 .* is not JSON"),
        ("a.jsonl", b'{"text": "one"}\n\n{"prose": "two"}', "Line 3 .* has no text field"),
        ("a.jsonl", b'["text"]', "Line 1 .* has no text field"),
        ("a.txt", b"caf\xe9", "not UTF-8"),
        ("a.txt", b" \n", "empty"),
        ("a.csv", b"a,b", "There is no text"),
        ("none.txt", None, "No such file"),
    ],
)
def test_bad_files(tmp_path, name, content, says):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(Refusal, match=says):
        read_text(str(tmp_path / name))


@pytest.mark.parametrize("name", ["text:" + "0" * 64, "text:../secret", "text:" + "./" * 27 + "../secret"])
def test_text_that_is_not_kept(name, data):
    (data / "texts").mkdir(exist_ok=True)
    (data / "secret.txt").write_text("not a text that was kept")
    with pytest.raises(Refusal, match="not kept"):
        read_text(name)


@pytest.mark.parametrize(
    "ref, says",
    [
        (lambda: CorpusRef(windows=0), "0 windows"),
        (lambda: CorpusRef(length=1), "length of 2"),
        (lambda: CorpusRef(keep_text("short"), length=64), "fewer than one window"),
        (lambda: CorpusRef(length=129), "takes 128 at most"),
        (lambda: CorpusRef(keep_text(" ")), "empty"),
    ],
)
def test_refusals(tokenizer, ref, says):
    with pytest.raises(Refusal, match=says):
        cut(ref(), tokenizer, context=128)


def test_bos_of_a_tokenizer_without_one(tiny_folder):
    bare = AutoTokenizer.from_pretrained(tiny_folder, bos_token=None)
    with pytest.raises(Refusal, match="no BOS"):
        cut(CorpusRef(bos=True), bare)


def test_hub_text_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(Refusal, match="pip install datasets"):
        read_text("wikitext-2-raw")


class _Datasets:
    """A library ``datasets`` that has two rows, or no network."""

    def __init__(self, rows):
        self.rows, self.asked = rows, []

    def load_dataset(self, *place, split, streaming):
        self.asked.append((*place, split))
        if self.rows is None:
            raise ConnectionError("Couldn't reach it")
        return iter(self.rows)


def test_hub_text_without_network(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", _Datasets(None))
    with pytest.raises(Refusal, match="cannot be reached"):
        read_text("c4-validation")


def test_hub_text_is_fetched_once(monkeypatch, tmp_path):
    monkeypatch.setenv("PRUNESCOPE_DATA", str(tmp_path))
    library = _Datasets([json.loads('{"text": " = A = \\n"}'), {"text": " prose \n"}])
    monkeypatch.setitem(sys.modules, "datasets", library)
    assert read_text("wikitext-2-raw") == read_text("wikitext-2-raw") == " = A = \n prose \n"
    assert library.asked == [("Salesforce/wikitext", "wikitext-2-raw-v1", "validation")]
