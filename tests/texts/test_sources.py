"""Texts by name: the bundled one, files, kept texts and the hub; and what is remembered of them."""

import hashlib
import json
import os
import re
import sys
from pathlib import Path

import pytest

from refusal import Refusal
from texts import sources
from texts.hub import NotFetched, fetch_text, fetching
from texts.sources import BUNDLED, NAMES, forget_texts, keep_text, label, read_text, text_digest

PROSE = "4e1ec3026acaac368c62e8481d42b889e9b6b3f8c35b69e3bd9975f9c8aaecb1"


@pytest.fixture
def opened(monkeypatch):
    """The names of the texts that were read since the test began."""
    names, read = [], sources._text

    def noted(name):
        names.append(name)
        return read(name)

    monkeypatch.setattr(sources, "_text", noted)
    return names


def test_the_bundled_text_never_changes():
    """Every recorded answer rests on these bytes. Add another text under a new name instead."""
    assert hashlib.sha256(sources._PROSE.read_bytes()).hexdigest() == PROSE == text_digest(BUNDLED)
    assert PROSE in (sources._PROSE.with_name("SOURCES.md")).read_text(encoding="utf-8")


def test_the_bundled_text_is_clean_and_its_start_is_varied():
    text = read_text(BUNDLED)
    assert 300_000 < len(text.encode()) < 450_000
    assert "\r" not in text and "\n\n\n" not in text and "Gutenberg" not in text and "_" not in text
    start = text[:16_000]  # about 8 windows of 512 tokens
    for word in ("Sperm Whale", "House of Representatives", "Mr. Bingley", "Queequeg"):  # one of each strand
        assert word in start


def test_names_that_can_be_chosen():
    assert NAMES == ("prose", "python-docs", "wikitext-2-raw", "c4-validation") and BUNDLED == "prose"
    with pytest.raises(Refusal, match="one of: prose, python-docs, wikitext-2-raw, c4-validation, or the path"):
        read_text("war-and-peace")


def test_python_docs_are_long_prose():
    text = read_text("python-docs")
    assert len(text) > 300_000
    assert 'The "if" statement is used for conditional execution' in " ".join(text.split())


def test_kept_text_comes_back_as_it_was():
    text = "one\r\ntwo\n\n  drei: ß 🙂 "
    name = keep_text(text)
    assert read_text(name) == text and text_digest(name) == hashlib.sha256(text.encode()).hexdigest()


def test_nobody_can_guess_the_name_of_a_kept_text():
    first, second = keep_text("the same words"), keep_text("the same words")
    assert first != second and re.fullmatch("text:[0-9a-f]{32}", first)
    assert text_digest(first) == text_digest(second)
    with pytest.raises(Refusal, match="not kept"):
        read_text(f"text:{text_digest(first)}")


def test_kept_texts_can_be_forgotten(monkeypatch, tmp_path):
    monkeypatch.setenv("PRUNESCOPE_DATA", str(tmp_path))
    name = keep_text("words of mine")
    (tmp_path / "texts/c4-validation.txt").write_text("from the hub", encoding="utf-8")
    digest = text_digest(name)
    assert forget_texts() == 1 and forget_texts() == 0
    assert [path.name for path in (tmp_path / "texts").iterdir()] == ["c4-validation.txt"]
    for read in (read_text, text_digest):
        with pytest.raises(Refusal, match="not kept"):
            read(name)
    assert digest not in name


def test_labels():
    name = keep_text("words of mine")
    assert label(name) == label(name) and re.fullmatch("own text [0-9a-f]{6}", label(name))
    assert label(name)[-6:] not in name, "a label says nothing of the name, which opens the text"
    assert label("prose") == "prose" and label("/home/a.txt") == "/home/a.txt"


@pytest.mark.parametrize("name", NAMES[:2])
def test_a_second_digest_reads_nothing(opened, name):
    first = text_digest(name)
    opened.clear()
    assert text_digest(name) == first and opened == []


def test_a_second_digest_of_a_file_or_a_kept_text_reads_nothing(opened, tmp_path):
    path, kept = tmp_path / "a.txt", keep_text(f"kept for {tmp_path}")
    path.write_text("prose", encoding="utf-8")
    assert text_digest(str(path)) == text_digest(str(path)) == hashlib.sha256(b"prose").hexdigest()
    assert text_digest(kept) == text_digest(kept) == hashlib.sha256(f"kept for {tmp_path}".encode()).hexdigest()
    assert opened == [str(path), kept]


def test_a_changed_file_has_another_digest(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("prose", encoding="utf-8")
    before, seen = text_digest(str(path)), path.stat()
    path.write_text("longer prose", encoding="utf-8")
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))  # only its size tells
    longer = text_digest(str(path))
    path.write_text("LONGER PROSE", encoding="utf-8")
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns + 1))  # only its time tells
    assert len({before, longer, text_digest(str(path))}) == 3


def test_another_data_directory_has_other_texts(monkeypatch, tmp_path):
    digests = set()
    for name in ("one", "two"):
        (tmp_path / name / "texts").mkdir(parents=True)
        (tmp_path / name / "texts/c4-validation.txt").write_text(name, encoding="utf-8")
        monkeypatch.setenv("PRUNESCOPE_DATA", str(tmp_path / name))
        digests.add(text_digest("c4-validation"))
    assert digests == {hashlib.sha256(name).hexdigest() for name in (b"one", b"two")}


def test_a_missing_file_is_looked_for_again(tmp_path):
    path = tmp_path / "late.txt"
    with pytest.raises(Refusal, match="No such file"):
        text_digest(str(path))
    path.write_text("prose", encoding="utf-8")
    assert text_digest(str(path)) == hashlib.sha256(b"prose").hexdigest()


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
        ("nul\0.txt", None, "There is no text"),
    ],
)
def test_bad_files(tmp_path, name, content, says):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    for read in (read_text, text_digest):
        with pytest.raises(Refusal, match=says):
            read(str(tmp_path / name))


def test_the_home_of_nobody():
    with pytest.raises(Refusal, match="cannot be read: No such file"):
        text_digest("~nobody-of-that-name/a.txt")


@pytest.mark.parametrize("name", ["text:" + "0" * 64, "text:" + "0" * 32, "text:../secret", "text:" + "./" * 11 + "../secret"])
def test_text_that_is_not_kept(name, data):
    (data / "texts").mkdir(exist_ok=True)
    (data / "secret.txt").write_text("not a text that was kept")
    with pytest.raises(Refusal, match="not kept"):
        read_text(name)


def test_hub_text_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(Refusal, match="pip install datasets`, or choose prose, which needs nothing"):
        fetch_text("wikitext-2-raw")


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
        fetch_text("c4-validation")


def test_hub_text_is_fetched_once(monkeypatch, tmp_path):
    monkeypatch.setenv("PRUNESCOPE_DATA", str(tmp_path))
    library = _Datasets([json.loads('{"text": " = A = \\n"}'), {"text": " prose \n"}])
    monkeypatch.setitem(sys.modules, "datasets", library)
    with pytest.raises(NotFetched, match="is not on this machine yet"):
        text_digest("wikitext-2-raw")
    said: list[str] = []
    fetching(lambda: read_text("wikitext-2-raw"), lambda *step: said.append(step[2]))
    fetch_text("wikitext-2-raw")
    assert read_text("wikitext-2-raw") == " = A = \n prose \n" and said == ["1 row read", "2 rows read"]
    assert library.asked == [("Salesforce/wikitext", "wikitext-2-raw-v1", "validation")]
    assert text_digest("wikitext-2-raw") == hashlib.sha256(Path(tmp_path / "texts/wikitext-2-raw.txt").read_bytes()).hexdigest()
