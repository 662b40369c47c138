"""The store among processes: whole answers or none, when a writer is killed or several write at once."""

import signal

from cache.store import Store
from tests.cache.stores import child

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
            assert store.read(entry.key).payload == bytes([entry.about["fill"]]) * 2_000_000
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
        found = {entry.key: (store.read(entry.key).payload, entry.about) for entry in store.entries()}
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
