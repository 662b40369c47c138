"""The store with too little room: its own limit, a full disk, a damaged or locked database."""

import logging
import sqlite3

import pytest

from cache.store import LARGEST, Store, StoreError
from tests.cache.stores import MIB, child, fill, small_disk, tamper


def test_an_answer_over_the_limit_is_an_error(tmp_path):
    store = Store(tmp_path, limit=100)
    store.put("small", bytes(60), {})
    with pytest.raises(StoreError, match="101 bytes and the store takes at most 100 at once"):
        store.put("large", bytes(101), {})
    assert [entry.key for entry in store.entries()] == ["small"]


def test_an_answer_no_row_can_hold_is_an_error(store):
    with pytest.raises(StoreError, match="at most 900,000,000 at once"):
        store.put("k", bytes(LARGEST + 1), {})


def test_the_least_recently_used_make_room_and_the_log_says_so(tmp_path, caplog):
    store = Store(tmp_path, limit=100)
    for name in "abc":
        store.put(name, bytes(30), {})
    store.read("a")
    with caplog.at_level(logging.WARNING, logger="cache.store"):
        store.put("d", bytes(35), {})
    assert {entry.key for entry in store.entries()} == {"a", "c", "d"}
    assert "forgot b (30 bytes)" in caplog.text
    store.put("e", bytes(100), {})  # everything but the new one
    assert [entry.key for entry in store.entries()] == ["e"]


def test_replacing_an_answer_forgets_no_other(tmp_path):
    store = Store(tmp_path, limit=100)
    store.put("a", bytes(40), {})
    store.put("b", bytes(60), {})
    store.put("b", bytes(55), {})
    assert {entry.key for entry in store.entries()} == {"a", "b"}


def test_diskcache_itself_never_forgets(store):
    store._rows.reset("size_limit", 1)
    for number in range(5):
        store.put(f"k{number}", bytes(100_000), {})
    assert len(store.entries()) == 5


def test_what_is_not_kept_is_noticed_and_the_older_answer_stays(store):
    store.put("k", b"old", {"n": 1})
    tamper(store, "CREATE TRIGGER t AFTER UPDATE OF value ON Cache BEGIN DELETE FROM Cache; END")
    with pytest.raises(StoreError, match="did not keep the answer"):
        store.put("k", b"newer", {"n": 2})
    assert (store.read("k").payload, store.about("k")) == (b"old", {"n": 1})


def test_a_full_disk_is_a_sentence_and_the_answers_survive(tmp_path):
    store = Store(tmp_path, limit=MIB)
    store.put("before", bytes(400_000), {"n": 1})
    (pages,) = store._sql("PRAGMA page_count")[0]
    store._sql(f"PRAGMA max_page_count = {pages + 10}")  # SQLite itself then answers "full"
    with pytest.raises(StoreError, match="could not be written: the disk is full"):
        store.put("large", bytes(900_000), {})  # would also push "before" out
    assert store.read("before").payload == bytes(400_000) and store.about("before") == {"n": 1}
    assert [entry.key for entry in store.entries()] == ["before"]
    store.put("small", b"x", {})


def test_a_really_full_disk(tmp_path):
    with small_disk(tmp_path, MIB * 4):
        store = Store(tmp_path / "answers")
        store.put("before", bytes(MIB), {"n": 1})
        with pytest.raises(StoreError, match="could not be written: the disk is full"):
            store.put("large", bytes(4 * MIB), {})
        fill(tmp_path / "rest")
        assert store.read("before").payload == bytes(MIB) and store.about("before") == {"n": 1}
        assert store.delete("before"), "forgetting is how one gets out of a full disk"
        assert store.entries() == []
        store.close()


def test_a_write_that_fails_in_the_system_is_a_sentence(tmp_path):
    code = """
import resource, sys
from pathlib import Path
from cache.store import Store, StoreError
store = Store(Path(sys.argv[1]))
store.put("before", bytes(100_000), {"n": 1})
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
try:
    store.put("large", bytes(3_000_000), {})
except StoreError as error:
    print(error)
print(store.read("before").payload == bytes(100_000), [entry.key for entry in store.entries()])
"""
    out, err = child(code, tmp_path).communicate(timeout=30)
    assert "could not be written: disk I/O error. Look at the disk's free space and permissions." in out, out + err
    assert "True ['before']" in out, err


def test_a_store_that_cannot_be_written_can_be_read(store):
    store.put("k", b"v", {})
    store._sql("PRAGMA query_only = 1")
    assert store.read("k").payload == b"v" and store.entries()[0].hits == 0
    with pytest.raises(StoreError, match="could not be written: the folder is not writable"):
        store.put("k", b"new", {})


def test_a_locked_store_is_a_sentence(store):
    other = sqlite3.connect(store.directory / "cache.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    store._sql("PRAGMA busy_timeout = 0")  # not the minute it would wait
    with pytest.raises(StoreError, match="could not be written: another process kept it locked"):
        store.put("k", b"v", {})
    other.execute("ROLLBACK")
    other.close()
    store.put("k", b"v", {})


def test_a_damaged_database_is_a_sentence(tmp_path):
    (tmp_path / "cache.db").write_bytes(b"this is no database" * 500)
    with pytest.raises(StoreError, match=r"could not be opened: its database cache.db is damaged. Delete the folder"):
        Store(tmp_path)


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"could not be opened: .*file"):
        Store(tmp_path / "file" / "answers")
