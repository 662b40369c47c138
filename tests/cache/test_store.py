"""Store: whole answers or none, through kills, full disks, planted rows and too little room."""

import logging
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cache.store import LARGEST, ONE_HIT, Entry, Store, Stored, StoreError

ROOT = Path(__file__).parents[2]
MIB = 2**20


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "answers")
    yield store
    store.close()


def child(code: str, *arguments: object) -> subprocess.Popen:
    """Run code in a process of its own; it prints to us line by line."""
    command = [sys.executable, "-u", "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def tamper(store: Store, statement: str, *values: object) -> None:
    """Change the database behind the store's back."""
    connection = sqlite3.connect(store.directory / "cache.db")
    with connection:
        connection.execute(statement, values)
    connection.close()


def test_put_and_get(store):
    store.put("a" * 64, b"payload", {"question": {"probe": "x"}, "seconds": 1.5})
    assert store.get("a" * 64) == b"payload"
    assert store.about("a" * 64) == {"question": {"probe": "x"}, "seconds": 1.5}
    assert store.get("b") is None and store.about("b") is None


def test_put_again_replaces_both(store):
    store.put("k", b"one", {"n": 1})
    store.put("k", b"second", {"n": 2})
    assert (store.get("k"), store.about("k"), len(store.entries())) == (b"second", {"n": 2}, 1)


@pytest.mark.parametrize("size", [0, 1, 2**15, 3 * MIB])
def test_every_size_comes_back_and_makes_no_file(store, size):
    payload = os.urandom(size)
    store.put("k", payload, {})
    assert store.get("k") == payload
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
    assert (again.get("k"), again.about("k")) == (b"v", {"n": 1})
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
    store.put("k", b"v", {}), store.put("other", b"v", {})
    for _ in range(5):
        store.read("k"), store.read("other", hit=False)
        now[0] += ONE_HIT / 6
    assert {entry.key: entry.hits for entry in store.entries()} == {"k": 1, "other": 0}
    assert store._sql("SELECT access_time FROM Cache WHERE key = 'k'") == [(5e9,)]
    now[0] += ONE_HIT / 6
    store.read("k"), store.read("other")
    assert {entry.key: entry.hits for entry in store.entries()} == {"k": 2, "other": 1}
    assert store._noted == {"k": now[0], "other": now[0]}  # what was read longer ago takes no memory


def test_looking_does_not_wait_for_a_writer(store):
    store.put("k", b"v", {}), store.put("l", b"w", {})
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


# --- only bytes, only ours


def test_values_that_are_no_bytes_are_refused(store):
    with pytest.raises(StoreError, match="Values of the store are bytes, not list"):
        store.put("k", [1], {})
    with pytest.raises(StoreError, match="Keys of the store are str, not tuple"):
        store.get(("k",))
    assert store.entries() == []


@pytest.mark.parametrize("in_a_file", [False, True])
def test_a_planted_row_is_not_opened(store, tmp_path, in_a_file):
    store.put("k", b"v", {})
    poison = b"cposix\nsystem\n(S'touch %s'\ntR." % os.fsencode(tmp_path / "ran")
    (store.directory / "p.val").write_bytes(poison)
    value, name = (None, "p.val") if in_a_file else (poison, None)
    tamper(store, "UPDATE Cache SET mode = 4, value = ?, filename = ?", value, name)
    with pytest.raises(StoreError, match="was not written by PruneScope and was not opened"):
        store.get("k")
    assert store.about("k") is None and store.entries() == []  # so it is computed again
    store.put("k", b"good", {})
    assert store.get("k") == b"good"
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
    store.put("good", b"v", {"n": 1}), store.put("bad", b"v", {})
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


# --- too little room


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
    store.get("a")
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
    assert (store.get("k"), store.about("k")) == (b"old", {"n": 1})


# --- a full disk, a damaged file, a folder of others


def test_a_full_disk_is_a_sentence_and_the_answers_survive(tmp_path):
    store = Store(tmp_path, limit=MIB)
    store.put("before", bytes(400_000), {"n": 1})
    (pages,) = store._sql("PRAGMA page_count")[0]
    store._sql(f"PRAGMA max_page_count = {pages + 10}")  # SQLite itself then answers "full"
    with pytest.raises(StoreError, match="could not be written: the disk is full"):
        store.put("large", bytes(900_000), {})  # would also push "before" out
    assert store.get("before") == bytes(400_000) and store.about("before") == {"n": 1}
    assert [entry.key for entry in store.entries()] == ["before"]
    store.put("small", b"x", {})


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may mount")
def test_a_really_full_disk(tmp_path):
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", tmp_path], capture_output=True)
    if mounted.returncode:
        pytest.skip("this machine may not mount")
    store = Store(tmp_path / "answers")
    try:
        store.put("before", bytes(MIB), {"n": 1})
        with pytest.raises(StoreError, match="could not be written: the disk is full"):
            store.put("large", bytes(4 * MIB), {})
        (tmp_path / "rest").write_bytes(b"")
        fill(tmp_path / "rest")
        assert store.get("before") == bytes(MIB) and store.about("before") == {"n": 1}
        assert store.delete("before"), "forgetting is how one gets out of a full disk"
        assert store.entries() == []
    finally:
        store.close()
        subprocess.run(["umount", "-l", tmp_path], check=True)


def fill(path: Path) -> None:
    """Write until the disk is full."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


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
print(store.get("before") == bytes(100_000), [entry.key for entry in store.entries()])
"""
    out, err = child(code, tmp_path).communicate(timeout=30)
    assert "could not be written: disk I/O error. Look at the disk's free space and permissions." in out, out + err
    assert "True ['before']" in out, err


def test_a_store_that_cannot_be_written_can_be_read(store):
    store.put("k", b"v", {})
    store._sql("PRAGMA query_only = 1")
    assert store.get("k") == b"v" and store.entries()[0].hits == 0
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


# --- several processes

WRITER = """
import sys
from pathlib import Path
from cache.store import Store
store = Store(Path(sys.argv[1]))
for number in range(10_000):
    store.put(f"{sys.argv[2]}-{number % 5}", bytes([number % 251]) * 2_000_000, {"fill": number % 251})
    print(number)
"""


def test_a_killed_writer_leaves_whole_answers(tmp_path):
    store = Store(tmp_path)
    for life in range(4):
        writer = child(WRITER, tmp_path, life)
        for _ in range(3 + 4 * life):
            assert writer.stdout.readline(), writer.stderr.read()
        writer.kill()  # SIGKILL, and by now it is inside the next put
        writer.communicate()
        entries = [entry for entry in store.entries() if entry.key.startswith(f"{life}-")]
        assert len(entries) >= min(5, 3 + 4 * life)
        for entry in entries:
            assert store.get(entry.key) == bytes([entry.about["fill"]]) * 2_000_000
        store.put("mine", b"still works", {})
        assert {path.name for path in tmp_path.iterdir()} <= {"cache.db", "cache.db-wal", "cache.db-shm"}


STEPPER = """
import os, signal, sys
from pathlib import Path
from cache.store import Store
store = Store(Path(sys.argv[1]), limit=3_000_000)
left = int(sys.argv[2])

def step(statement):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

store._rows._con.set_trace_callback(step)
store.put("k", b"n" * 2_000_000, {"n": "new"})
print("put")
"""


def test_a_writer_killed_at_any_statement_leaves_all_or_nothing(tmp_path):
    before = {"k": (b"o" * 1_000_000, {"n": "old"}), "other": (b"x" * 1_500_000, {"n": "other"})}
    after = {"k": (b"n" * 2_000_000, {"n": "new"})}  # "other" made room
    store = Store(tmp_path)
    for statement in range(1, 100):
        for key, (payload, about) in before.items():
            store.put(key, payload, about)
        writer = child(STEPPER, tmp_path, statement)
        out, err = writer.communicate(timeout=30)
        found = {entry.key: (store.get(entry.key), entry.about) for entry in store.entries()}
        if out == "put\n":
            assert found == after and statement > 5
            return
        assert writer.returncode == -signal.SIGKILL, err
        assert found == before, statement  # the last statement is COMMIT, and it is traced before it runs


def test_processes_open_and_write_one_folder_at_once(tmp_path):
    code = """
import sys
from pathlib import Path
from cache.store import Store
store = Store(Path(sys.argv[1]))
for number in range(20):
    store.put(f"{sys.argv[2]}-{number}", bytes(50_000), {})
"""
    writers = [child(code, tmp_path / "answers", name) for name in "ab"]
    for writer in writers:
        _, err = writer.communicate(timeout=30)
        assert writer.returncode == 0, err
    assert len(Store(tmp_path / "answers").entries()) == 40
