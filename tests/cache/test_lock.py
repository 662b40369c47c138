"""Locks: one holder per key, among threads and processes, and no file that outlives its holder."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cache.lock import only_one, sweep

ROOT = Path(__file__).parents[2]
SOON = 10  # seconds any wait may take; none takes so long


def never() -> None:
    raise AssertionError("nobody else holds this key")


def test_a_key_is_held_and_its_file_goes_with_the_holder(tmp_path):
    folder = tmp_path / "deep" / "locks"
    with only_one(folder, "../../x", never), only_one(folder, "another", never):
        assert len(list(folder.iterdir())) == 2
    assert list(folder.iterdir()) == [] and not (tmp_path / "x").exists()


def test_a_failure_lets_go(tmp_path):
    with pytest.raises(ZeroDivisionError), only_one(tmp_path, "k", never):
        raise ZeroDivisionError
    with only_one(tmp_path, "k", never):
        pass
    assert list(tmp_path.iterdir()) == []


def test_who_waits_is_told_and_may_give_up(tmp_path):
    class GivenUp(OSError):
        """An OSError, to be sure that none of the lock's own is mistaken for it."""

    told = []

    def waiting():
        told.append(1)
        if len(told) == 3:
            raise GivenUp

    with only_one(tmp_path, "k", never):
        with pytest.raises(GivenUp), only_one(tmp_path, "k", waiting):
            raise AssertionError("two hold one key")
        assert len(list(tmp_path.iterdir())) == 1, "who gave up has removed the holder's file"
    assert list(tmp_path.iterdir()) == []


def test_of_many_threads_one_works_at_a_time_and_the_work_is_done_once(tmp_path):
    store, runs, inside, most, start = set(), [], [], [], threading.Barrier(6)
    contended = threading.Event()

    def ask():
        start.wait(SOON)
        with only_one(tmp_path, "k", contended.set):
            inside.append(1)
            most.append(len(inside))
            if "k" not in store:
                assert contended.wait(SOON)  # the others have met the lock
                runs.append(1)
                store.add("k")
            inside.pop()

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
    assert (most, runs) == ([1] * 6, [1])
    assert list(tmp_path.iterdir()) == []


ASKER = """
import sys
from pathlib import Path
from cache.lock import only_one
folder = Path(sys.argv[1])
print("ready")
sys.stdin.readline()
for number in range(20):
    with only_one(folder / "locks", str(number), lambda: None):
        with open(folder / f"inside-{number}", "x"):  # fails if another is inside
            pass
        if not (folder / f"answer-{number}").exists():
            (folder / f"answer-{number}").touch()
            print("computed")
        (folder / f"inside-{number}").unlink()
"""


def test_of_several_processes_one_does_the_work(tmp_path):
    pipe = subprocess.PIPE
    command = [sys.executable, "-u", "-c", ASKER, str(tmp_path)]
    askers = [subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True) for _ in range(3)]
    assert [asker.stdout.readline() for asker in askers] == ["ready\n"] * 3
    for asker in askers:
        asker.stdin.write("go\n")
        asker.stdin.flush()
    output = [asker.communicate(timeout=60) for asker in askers]
    assert [asker.returncode for asker in askers] == [0] * 3, output
    assert sum(out.count("computed") for out, _ in output) == 20
    assert list((tmp_path / "locks").iterdir()) == []


def test_sweep_removes_what_nobody_holds(tmp_path):
    (tmp_path / "left.lock").touch()
    with only_one(tmp_path, "k", never):
        sweep(tmp_path)
        [held] = tmp_path.iterdir()
        assert held.name != "left.lock"
    sweep(tmp_path)
    sweep(tmp_path / "missing")
    assert list(tmp_path.iterdir()) == []


def test_where_no_lock_file_can_be_made_work_goes_on(tmp_path, caplog):
    (tmp_path / "file").touch()
    with only_one(tmp_path / "file" / "locks", "k", never):
        pass
    assert "another process may compute the same answer" in caplog.text
    sweep(tmp_path / "file" / "locks")
