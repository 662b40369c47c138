"""The store opens only what it wrote itself: planted rows, keys and file names run nothing and delete nothing."""

import os

import pytest

from cache.store import Entry, StoreError
from tests.cache.stores import tamper


def test_values_that_are_no_bytes_are_refused(store):
    with pytest.raises(StoreError, match="Values of the store are bytes, not list"):
        store.put("k", [1], {})
    with pytest.raises(StoreError, match="Keys of the store are str, not tuple"):
        store.read(("k",))
    assert store.entries() == []


@pytest.mark.parametrize("in_a_file", [False, True])
def test_a_planted_row_is_not_opened(store, tmp_path, in_a_file):
    store.put("k", b"v", {})
    poison = b"cposix\nsystem\n(S'touch %s'\ntR." % os.fsencode(tmp_path / "ran")
    (store.directory / "p.val").write_bytes(poison)
    value, name = (None, "p.val") if in_a_file else (poison, None)
    tamper(store, "UPDATE Cache SET mode = 4, value = ?, filename = ?", value, name)
    with pytest.raises(StoreError, match="was not written by PruneScope and was not opened"):
        store.read("k")
    assert store.about("k") is None and store.entries() == []  # so it is computed again
    store.put("k", b"good", {})
    assert store.read("k").payload == b"good"
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(("raw", "kind"), [(0, "BLOB"), (1, "BLOB"), (0, "TEXT")])
def test_a_planted_key_is_not_opened(store, tmp_path, raw, kind):
    poison = b"cposix\nsystem\n(S'touch %s'\ntR." % os.fsencode(tmp_path / "ran")
    insert = f"INSERT INTO Cache (key, raw, mode, value, tag) VALUES (CAST(? AS {kind}), {raw}, 1, x'00', '{{}}')"
    tamper(store, insert, poison)
    assert store.entries() == []
    with pytest.raises(StoreError, match="a key that PruneScope did not write"):
        next(iter(store._rows))
    store.delete_all()
    assert store.size == 0 and not (tmp_path / "ran").exists()


BAD = ["[1,2]", "nonsense", "", "null", "[" * 100_000, "9" * 5000]


@pytest.mark.parametrize("tag", [*BAD, "X'ff'"])
def test_a_row_without_a_description_is_listed_and_can_be_forgotten(store, tag):
    store.put("good", b"v", {"n": 1})
    store.put("bad", b"v", {})
    value, tag = ("CAST(? AS TEXT)", b"\xff") if tag == "X'ff'" else ("?", tag)
    tamper(store, f"UPDATE Cache SET tag = {value} WHERE key = 'bad'", tag)
    assert {entry.key: entry.about for entry in store.entries()} == {"good": {"n": 1}, "bad": {}}
    assert not store.has("bad") and store.about("bad") is None  # so it is computed again
    with pytest.raises(StoreError, match="The answer bad was not written by PruneScope"):
        store.read("bad")
    assert store.delete("bad") and store.keys("") == ["good"]


def test_numbers_that_are_none_do_not_reach_a_page(store):
    columns = "key, raw, mode, value, tag, store_time, access_count"
    tamper(store, f"INSERT INTO Cache ({columns}) VALUES ('none', 1, 1, x'00', '{{}}', NULL, NULL)")
    tamper(store, f"INSERT INTO Cache ({columns}) VALUES ('text', 1, 1, x'00', '{{}}', 'long ago', 0)")
    tamper(store, f"INSERT INTO Cache ({columns}) VALUES ('more', 1, 1, x'00', '{{}}', 1.0, 'often')")
    tamper(store, f"INSERT INTO Cache ({columns}) VALUES ('empty', 1, 1, NULL, '{{}}', 1.0, 0)")
    assert store.entries() == [Entry("none", {}, 1, 0.0, 0)]
    store.put("k", b"v", {})  # making room adds up their sizes


def test_what_is_said_about_an_answer_is_a_dict(store):
    with pytest.raises(StoreError, match="is a dict, not list"):
        store.put("k", b"v", [1])
    assert store.entries() == []


def test_a_planted_file_name_deletes_nothing(store, tmp_path):
    precious = tmp_path / "precious.txt"
    precious.write_text("mine")
    store.put("k", b"v", {})
    tamper(store, "UPDATE Cache SET filename = '../precious.txt'")
    assert store.delete("k")
    assert precious.read_text() == "mine"
