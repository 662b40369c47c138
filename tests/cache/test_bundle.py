"""Bundles: what was packed comes out equal, and a file appears whole or not at all."""

import io
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from cache.bundle import BundleError, Unpacked, pack, read, unpack
from cache.codec import encode
from cache.store import Store, StoreError

ROOT = Path(__file__).parents[2]
ANSWERS = {
    f"{name}/{name}": (encode({"x": np.arange(size)}), {"n": size, "é": None}) for name, size in {"a": 3, "b": 0}.items()
}


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "answers")
    for key, answer in ANSWERS.items():
        store.put(key, *answer)
    yield store
    store.close()


# --- there and back


def test_a_bundle_brings_every_answer_as_it_was(store, tmp_path):
    told = {"model": {"name": "m"}, "∑": [1, None]}
    assert pack(store, iter(["a/a", "b/b", "a/a", "unknown"]), tmp_path / "file", told) == 2
    other = Store(tmp_path / "others")
    assert unpack(other, tmp_path / "file") == Unpacked(2, 0, told)
    for key, (payload, about) in ANSWERS.items():
        assert (other.read(key).payload, other.read(key).about) == (payload, about)
    with (tmp_path / "file").open("rb") as file:
        assert unpack(other, file) == Unpacked(0, 2, told)
    other.put("b/b", b"ours", {})
    other.delete("a/a")
    assert unpack(other, io.BytesIO((tmp_path / "file").read_bytes())) == Unpacked(1, 1, told)
    assert other.read("b/b").payload == b"ours"
    other.close()


def test_a_bundle_is_read_where_it_lies(store, tmp_path):
    pack(store, ["b/b", "a/a"], tmp_path / "file", {})
    assert read(tmp_path / "file") == [(about, payload) for payload, about in (ANSWERS["b/b"], ANSWERS["a/a"])]
    (tmp_path / "file").write_bytes((tmp_path / "file").read_bytes().replace(b"npy", b"npx"))
    with pytest.raises(BundleError, match="damaged"):
        read(tmp_path / "file")


def test_no_answer_at_all_is_a_bundle_too(store, tmp_path):
    assert pack(store, [], tmp_path / "file", {"n": 1}) == 0
    assert unpack(store, tmp_path / "file") == Unpacked(0, 0, {"n": 1})


def test_equal_answers_give_equal_bytes_and_packing_is_no_use_of_them(store, tmp_path):
    for name in ("one", "two"):
        pack(store, ANSWERS, tmp_path / name, {})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    with zipfile.ZipFile(tmp_path / "one") as archive:  # both may have been written in the same second
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert {entry.hits for entry in store.entries()} == {0}


def test_what_would_be_refused_is_left_out_and_the_log_says_so(store, tmp_path, caplog):
    store.put("damaged", b"PK nonsense", {})
    store.put("a\nb", ANSWERS["b/b"][0], {})
    assert pack(store, store.keys(""), tmp_path / "file", {}) == 2
    assert "Left 'damaged' out" in caplog.text and r"Left 'a\nb' out" in caplog.text
    assert unpack(Store(tmp_path / "others"), tmp_path / "file").added == 2


def test_one_answer_at_a_time_is_in_memory(tmp_path):
    code = """
import resource, sys, tracemalloc
from pathlib import Path
from cache.bundle import pack, unpack
from cache.codec import encode
from cache.store import Store
import numpy as np
folder = Path(sys.argv[1])
store, other = Store(folder / "one"), Store(folder / "two")
for number in range(12):
    store.put(str(number), encode({"x": np.full(500_000, number, float)}), {})
tracemalloc.start()
pack(store, store.keys(""), folder / "file", {})
assert unpack(other, folder / "file").added == 12
print(tracemalloc.get_traced_memory()[1])
"""
    done = subprocess.run([sys.executable, "-c", code, tmp_path], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 6 * 4_000_000, "the bundle has 48 MB, one answer 4 MB and a few copies while it is checked"


# --- whole or not at all


def test_a_failure_half_way_leaves_the_older_file_and_nothing_else(store, tmp_path):
    def keys():
        yield "a/a"
        raise ZeroDivisionError

    folder = tmp_path / "bundles"
    folder.mkdir()
    with pytest.raises(ZeroDivisionError):
        pack(store, keys(), folder / "file", {})
    assert list(folder.iterdir()) == []
    pack(store, ["a/a"], folder / "file", {})
    before = (folder / "file").read_bytes()
    with pytest.raises(ZeroDivisionError):
        pack(store, keys(), folder / "file", {})
    assert [path.name for path in folder.iterdir()] == ["file"] and (folder / "file").read_bytes() == before


def test_a_process_killed_half_way_leaves_no_half_file(store, tmp_path):
    code = """
import os, signal, sys
from pathlib import Path
from cache import bundle
from cache.store import Store

class Deadly(Store):
    def read(self, key, hit=True):
        if key == "b/b":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read(key, hit)

bundle.pack(Deadly(Path(sys.argv[1])), ["a/a", "b/b"], Path(sys.argv[2]), {})
"""
    folder = tmp_path / "bundles"
    folder.mkdir()
    command = [sys.executable, "-c", code, store.directory, folder / "file"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr
    [part] = folder.iterdir()
    assert part.name.startswith(".file.") and part.name.endswith(".part")


def test_a_file_that_cannot_be_written_is_a_sentence(store, tmp_path):
    with pytest.raises(BundleError, match="could not be written: No such file or directory"):
        pack(store, ANSWERS, tmp_path / "missing" / "file", {})


def test_a_row_we_did_not_write_is_not_packed(store, tmp_path):
    store._sql("UPDATE Cache SET mode = 4 WHERE key = 'b/b'")
    with pytest.raises(StoreError, match="The answer b/b was not written by PruneScope"):
        pack(store, ANSWERS, tmp_path / "file", {})
    assert not (tmp_path / "file").exists()
