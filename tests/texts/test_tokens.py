"""Token ids of whole texts: made once, never those of another text or tokenizer, and no tokenizer is kept alive."""

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from texts import tokens
from texts.corpus import CorpusRef, keep_text, read_corpus
from texts.tokens import token_ids


class Letters:
    """A tokenizer: the code of each letter plus an offset. It counts what it was asked."""

    bos_token_id = None

    def __init__(self, offset=0):
        self.offset, self.asked = offset, 0

    def __call__(self, text, **_):
        self.asked += 1
        return SimpleNamespace(input_ids=[ord(letter) + self.offset for letter in text])


@pytest.fixture(autouse=True)
def nothing_kept():
    tokens._kept.clear()


def test_windows_and_those_that_follow_tokenise_the_text_once():
    letters, ref = Letters(), CorpusRef(keep_text("abcdefghij"), windows=2, length=2)
    assert read_corpus(ref, letters).tokens.tolist() == [[97, 98], [99, 100]]
    assert read_corpus(ref.following, letters).tokens.tolist() == [[101, 102], [103, 104]]
    assert letters.asked == 1


def test_each_tokenizer_has_its_own_ids():
    name, plain, moved = keep_text("ab"), Letters(), Letters(1000)
    assert token_ids(name, plain).tolist() == [97, 98] and token_ids(name, moved).tolist() == [1097, 1098]
    assert token_ids(name, plain).tolist() == [97, 98]


def test_a_changed_file_is_tokenised_again(tmp_path):
    path, letters = tmp_path / "a.txt", Letters()
    for text in ("ab", "abc"):
        path.write_text(text, encoding="utf-8")
        assert len(token_ids(str(path), letters)) == len(text)


def test_a_file_that_changes_while_it_is_read_is_kept_under_what_it_became(tmp_path, monkeypatch):
    path, letters = tmp_path / "a.txt", Letters()
    path.write_text("new", encoding="utf-8")
    monkeypatch.setattr(tokens, "text_digest", lambda name: "0" * 64)  # taken before the change
    assert token_ids(str(path), letters).tolist() == [110, 101, 119]
    assert [digest for digest, _ in tokens._kept] == [tokens.digest_of("new")]


def test_a_tokenizer_is_not_kept_alive_and_its_ids_go_with_it():
    name, letters = keep_text("ab"), Letters()
    token_ids(name, letters)
    gone = weakref.ref(letters)
    del letters
    gc.collect()
    assert gone() is None
    token_ids(name, other := Letters())
    assert [tokenizer() for tokenizer, _ in tokens._kept.values()] == [other]


def test_an_id_that_python_gives_again_is_not_taken_for_the_same_tokenizer():
    """Tokenizers that die at once get the id of the one before; each must still see its own ids."""
    name = keep_text("a")
    for offset in range(50):
        assert token_ids(name, Letters(offset)).tolist() == [97 + offset]


def test_few_texts_are_kept_and_the_last_used_stay():
    letters, names = Letters(), [keep_text("x" * length) for length in range(1, 7)]
    for name in names:
        token_ids(name, letters)
        token_ids(names[0], letters)
    assert len(tokens._kept) == 4 and letters.asked == 6


def test_shared_ids_cannot_be_written_and_windows_can():
    letters, name = Letters(), keep_text("abcd")
    with pytest.raises(ValueError, match="read-only"):
        token_ids(name, letters)[0] = 0
    windows = read_corpus(CorpusRef(name, 2, 2), letters).tokens
    windows[:] = 0
    assert windows.base is None  # a view would keep the whole text in memory
    assert token_ids(name, letters).tolist() == [97, 98, 99, 100]


def test_threads():
    tokenizers, names = [Letters(offset) for offset in (0, 1000, 2000)], [keep_text("y" * length) for length in (1, 2, 3)]

    def right(turn):
        letters, length = tokenizers[turn % 3], turn // 3 % 3 + 1
        found = token_ids(names[length - 1], letters)
        return np.array_equal(found, np.full(length, ord("y") + letters.offset))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(right, range(900)))
    assert len(tokens._kept) <= 4
