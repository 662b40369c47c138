"""The store: put, read, list and forget answers."""

import os
import shutil
import sqlite3
import stat
import threading

import pytest

from cache.looks import ONE_LOOK
from cache.store import Entry, Store, Stored
from tests.cache.stores import MIB


def test_put_and_get(store):
    store.put("a" * 64, b"payload", {"question": {"probe": "x"}, "seconds": 1.5})
    assert store.read("a" * 64).payload == b"payload"
    assert store.about("a" * 64) == {"question": {"probe": "x"}, "seconds": 1.5}
    assert store.read("b") is None and store.about("b") is None


def test_put_again_replaces_both(store):
    store.put("k", b"one", {"n": 1})
    store.put("k", b"second", {"n": 2})
    assert (store.read("k").payload, store.about("k"), len(store.entries())) == (b"second", {"n": 2}, 1)


@pytest.mark.parametrize("size", [0, 1, 2**15, 3 * MIB])
def test_every_size_comes_back_and_makes_no_file(store, size):
    payload = os.urandom(size)
    store.put("k", payload, {})
    assert store.read("k").payload == payload
    assert {path.name for path in store.directory.iterdir()} <= {"cache.db", "cache.db-wal", "cache.db-shm"}


def test_entries_count_bytes_and_hits_newest_first(store):
    for name in ("old", "new"):
        store.put(name, bytes(10), {"name": name})
    store.read("old")
    store.about("new")
    new, old = store.entries()
    assert old == Entry("old", {"name": "old"}, 10, old.created, 1)
    assert (new.key, new.hits) == ("new", 0)
    assert new.created >= old.created > 1.7e9
    assert store.size == 20


def test_delete(store):
    store.put("a", bytes(3 * MIB), {})
    store.put("b", bytes(3 * MIB), {})
    assert store.delete("a") and not store.delete("a")
    assert [entry.key for entry in store.entries()] == ["b"]
    store.delete_all()
    assert store.entries() == [] and store.size == 0
    assert sum(path.stat().st_size for path in store.directory.iterdir()) < MIB


def test_another_opening_finds_it(store):
    store.put("k", b"v", {"n": 1})
    store.close()
    again = Store(store.directory)
    assert (again.read("k").payload, again.about("k")) == (b"v", {"n": 1})
    again.close()


def test_the_folder_is_private(tmp_path):
    (tmp_path / "answers").mkdir(mode=0o755)
    Store(tmp_path / "answers").close()
    Store(tmp_path / "deep" / "answers").close()
    for folder in ("answers", "deep/answers"):
        assert stat.S_IMODE((tmp_path / folder).stat().st_mode) == 0o700


def test_one_statement_reads_the_answer_and_what_is_said_about_it(store):
    store.put("k", b"payload", {"n": 1})
    statements = []
    store._rows._con.set_trace_callback(statements.append)
    assert store.read("k", hit=False) == Stored(b"payload", {"n": 1})
    assert len(statements) == 1
    assert store.read("other") is None


def test_a_page_that_redraws_counts_one_hit_a_minute(tmp_path):
    now = [5e9]  # in the future, so that a note of it is told from what put writes
    store = Store(tmp_path, clock=lambda: now[0])
    store.put("k", b"v", {})
    store.put("other", b"v", {})
    for _ in range(5):
        store.read("k")
        store.read("other", hit=False)
        now[0] += ONE_LOOK / 6
    assert {entry.key: entry.hits for entry in store.entries()} == {"k": 1, "other": 0}
    assert store._sql("SELECT access_time FROM Cache WHERE key = 'k'") == [(5e9,)]
    now[0] += ONE_LOOK / 6
    store.read("k")
    store.read("other")
    assert {entry.key: entry.hits for entry in store.entries()} == {"k": 2, "other": 1}
    assert store.looks.noted == {("k", True): now[0], ("other", True): now[0]}  # what was read longer ago takes no memory


def test_looking_does_not_wait_for_a_writer(store):
    store.put("k", b"v", {})
    store.put("l", b"w", {})
    other = sqlite3.connect(store.directory / "cache.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    (patience,) = store._sql("PRAGMA busy_timeout")
    waited = threading.Thread(target=store.read, args=("k",), daemon=True)
    waited.start()
    waited.join(10)  # it would be a minute
    assert not waited.is_alive()
    assert store.read("l").payload == b"w" and store._sql("PRAGMA busy_timeout") == [patience]
    other.execute("ROLLBACK")
    other.close()


def test_has_and_keys_by_prefix_in_order(store):
    for key in ("b/1", "a/2", "a", "a/10", "a/é", "a0", "ab"):
        store.put(key, b"", {})
    assert store.keys("a/") == ["a/10", "a/2", "a/é"]
    assert store.keys("a") == ["a", "a/10", "a/2", "a/é", "a0", "ab"]
    assert store.keys("") == [*store.keys("a"), "b/1"] and store.keys("%") == store.keys("a/2/") == []
    assert store.has("a/2") and not store.has("a/")


def test_delete_takes_the_pieces_along(store):
    for key in ("a", "a/1", "a/2/3", "a-1", "a0", "b/1", "b"):
        store.put(key, b"", {})
    assert store.delete("a") and store.keys("") == ["a-1", "a0", "b", "b/1"]
    assert store.delete("b/1") and store.keys("") == ["a-1", "a0", "b"]
    store.put("c/1", b"", {})
    assert store.delete("c"), "pieces of an unfinished computation are something"
    assert not store.delete("c")


def test_entries_of_some_kind(store):
    for number in range(4):
        store.put(f"k{number}", b"", {"odd": bool(number % 2)})
    assert [entry.key for entry in store.entries(lambda about: about.get("odd"))] == ["k3", "k1"]


def test_a_folder_that_was_deleted_is_made_again(store):
    """An open file without a name would take answers that nobody finds again."""
    store.put("before", b"v", {})
    shutil.rmtree(store.directory)
    assert store.read("before") is None and store.entries() == []
    store.put("after", b"v", {"n": 1})
    again = Store(store.directory)
    assert again.read("after").about == {"n": 1} == store.about("after")
    again.close()
    assert stat.S_IMODE(store.directory.stat().st_mode) == 0o700


def test_a_folder_deleted_under_several_threads(store):
    shutil.rmtree(store.directory)
    threads = [threading.Thread(target=store.put, args=(str(i), b"v", {})) for i in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert Store(store.directory).keys("") == [str(i) for i in range(8)]


def test_hits_and_misses_are_counted_once_a_minute(tmp_path):
    now = [1000.0]
    store = Store(tmp_path, clock=lambda: now[0])
    store.put("k", b"answer", {})
    for _ in range(3):
        assert store.read("k") and store.read("k", hit=False) and not store.read("other") and not store.read("no", hit=False)
    assert (store.looks.hits, store.looks.misses) == (1, 1)
    now[0] += 61
    store.put("other", b"answer", {})
    assert store.read("other") and store.read("k") and not store.read("third")
    assert (store.looks.hits, store.looks.misses) == (3, 2)
