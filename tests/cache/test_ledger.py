"""Questions that outlive their process: written when asked, struck out when they end, found when somebody killed it."""

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cache.jobs import Jobs
from cache.ledger import Ledger
from cache.store import Store, StoreError

ROOT = Path(__file__).parent.parent.parent
# A server that works on one question and has another one waiting, until it is killed.
WORKING = """
import sys, threading
from pathlib import Path
from cache.jobs import Jobs
from cache.ledger import Ledger
from cache.store import Store
store = Store(Path(sys.argv[1]) / "answers")
jobs, ledger = Jobs(store), Ledger(Path(sys.argv[1]) / "asked", store)
gate, begun = threading.Event(), threading.Event()
def work(progress):
    begun.set()
    gate.wait()
for key in ("one", "two"):
    ledger.submit(jobs, key, {"probe": key}, key, work, "ann")
begun.wait()
print("at work", flush=True)
gate.wait()
"""


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "answers")


@pytest.fixture
def ledger(tmp_path, store):
    return Ledger(tmp_path / "asked", store)


def names(ledger, active=lambda key: False):
    return sorted(line.key for line in ledger.interrupted(active))


@pytest.fixture
def other(tmp_path):
    """Another server on the same data directory: it works on ``one``, and ``two`` waits there."""
    server = subprocess.Popen([sys.executable, "-c", WORKING, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT, text=True)
    assert server.stdout.readline() == "at work\n"
    yield server
    killed(server)


def killed(server):
    server.send_signal(signal.SIGKILL)
    server.wait()


def test_killed_work_is_found_by_the_next_process(ledger, other):
    assert names(ledger) == [], "what is at work or waits elsewhere is not interrupted"
    killed(other)
    found = ledger.interrupted(lambda key: False)
    assert [(line.key, line.question, line.owner) for line in sorted(found, key=lambda line: line.key)] == [
        ("one", {"probe": "one"}, "ann"), ("two", {"probe": "two"}, "ann"),
    ]  # fmt: skip


@pytest.mark.parametrize("key", ["one", "two"])
def test_the_end_here_says_nothing_of_who_still_waits_elsewhere(store, ledger, other, key):
    """Cancelled here while the other server works on it or has it in its queue, it is known after that one is killed."""
    jobs, waits = Jobs(store), threading.Event()

    def work(progress):
        while True:
            waits.set()
            progress(0, 1, "")

    job = ledger.submit(jobs, key, {"probe": key}, key, work, "bob")
    if key == "two":
        assert waits.wait(10)
    job.cancel()
    assert job.wait(10) and job.state == "cancelled"
    assert names(ledger) == []
    killed(other)
    assert names(ledger) == ["one", "two"]
    jobs.shutdown()


def test_the_end_elsewhere_says_nothing_of_who_still_waits_here(tmp_path, store, ledger):
    """Two servers, the second waits for the first; the first one's asker gives up, then the second one is killed."""
    there, jobs, begun = Ledger(tmp_path / "asked", store), [Jobs(store), Jobs(store)], threading.Event()

    def work(progress):
        begun.set()
        while True:
            progress(0, 1, "")

    first = there.submit(jobs[0], "key", {}, "job", work, "ann")
    assert begun.wait(10)
    ledger.submit(jobs[1], "key", {}, "job", work, "bob")
    first.cancel()
    assert first.wait(10)
    jobs[1].shutdown()
    assert [line.owner for line in ledger.interrupted(lambda key: False)] == ["bob"]
    assert names(there) == [], "to the first one, the second is at work"


def test_what_goes_on_keeps_who_asked_first_and_its_end_strikes_it_out(store, ledger, other):
    killed(other)
    jobs, gate = Jobs(store), threading.Event()
    job = ledger.submit(jobs, "two", {"probe": "two"}, "job", lambda progress: gate.wait(10) and (b"", {}), "bob")
    assert [entry.about["owner"] for entry in ledger._store.entries() if entry.key.startswith("two")] == ["ann"]
    gate.set()
    assert job.wait(10) and names(ledger) == ["one"] and len(ledger._store.entries()) == 1
    jobs.shutdown()


def test_let_go_is_only_what_was_interrupted(ledger, other):
    ledger.write("mine", {}, "ann")
    for key in ("one", "mine"):
        ledger.let_go(key)
    assert sorted(entry.key.partition("/")[0] for entry in ledger._store.entries()) == ["one", "two"]
    killed(other)
    ledger.let_go("one")
    assert names(ledger) == ["two"]


@pytest.mark.parametrize("end", ["done", "failed", "cancelled"])
def test_what_has_ended_is_struck_out(store, ledger, end):
    jobs, begun, on = Jobs(store), threading.Event(), threading.Event()

    def work(progress):
        begun.set()
        assert on.wait(10)
        progress(0, 1, "")
        if end == "failed":
            raise ValueError("no")
        return b"", {}

    ledger.write("key", {}, "ann")
    job = jobs.submit("key", "job", work, on_end=lambda job: ledger.strike(job.key))
    assert begun.wait(10) and names(ledger) == [], "its lock is held"
    if end == "cancelled":
        job.cancel()
    on.set()
    assert job.wait(10) and job.state == end
    jobs.shutdown()
    assert names(ledger) == [] and len(Store(ledger._store.directory).entries()) == 0


def test_the_end_of_the_process_is_not_the_end_of_a_question(store, ledger):
    jobs, begun = Jobs(store), threading.Event()

    def work(progress):
        begun.set()
        while True:
            progress(0, 1, "")

    for key in ("one", "two"):
        ledger.write(key, {}, "ann")
        jobs.submit(key, key, work, on_end=lambda job: ledger.strike(job.key))
    assert begun.wait(10)
    jobs.shutdown()
    assert names(ledger) == ["one", "two"]


def test_a_waiting_job_that_is_cancelled_is_struck_out(store, ledger):
    jobs, on = Jobs(store), threading.Event()
    jobs.submit("first", "", lambda progress: on.wait(10) and None)
    ledger.write("key", {}, "ann")
    jobs.submit("key", "", lambda progress: None, on_end=lambda job: ledger.strike(job.key)).cancel()
    assert names(ledger) == []
    on.set()
    jobs.shutdown()


def test_what_waits_here_is_not_interrupted(ledger):
    ledger.write("key", {}, "ann")
    assert names(ledger, lambda key: key == "key") == []


def test_the_first_owner_stays(ledger):
    ledger.write("key", {"a": 1}, "ann")
    ledger.write("key", {"a": 2}, "bob")
    [line] = ledger.interrupted(lambda key: False)
    assert (line.owner, line.question) == ("ann", {"a": 1})


def test_a_damaged_row_is_struck_out(ledger):
    ledger._store.put("one", b"junk", {"owner": "ann", "asked": 1})
    ledger._store.put("two", b"", {"owner": 3})
    assert names(ledger) == [] and len(ledger._store.entries()) == 0


def test_a_full_disk_costs_only_the_note(ledger, monkeypatch):
    def full(*args):
        raise StoreError("full")

    monkeypatch.setattr(ledger._store, "put", full)
    ledger.write("key", {}, "ann")
    assert names(ledger) == []


def test_what_was_answered_before_it_was_struck_out_is_not_interrupted(store, ledger):
    ledger.write("key", {}, "ann")
    store.put("key", b"", {})
    assert names(ledger) == [] and len(ledger._store.entries()) == 0


def test_asked_again_while_its_cancelled_job_comes_to_an_end_it_is_noted(store, ledger):
    """The end of the first job does not strike out what the second one still works on."""
    jobs, begun, on, struck = Jobs(store), threading.Event(), threading.Event(), threading.Event()

    def work(progress):
        begun.set()
        assert on.wait(10)
        progress(0, 1, "")

    first = ledger.submit(jobs, "key", {}, "job", work, "ann")
    assert begun.wait(10)
    first.cancel()
    second = ledger.submit(jobs, "key", {}, "job", lambda progress: struck.wait(10) and (b"", {}), "ann")
    on.set()
    assert first.wait(10) and first.state == "cancelled" and second.active
    assert [entry.key.partition("/")[0] for entry in ledger._store.entries()] == ["key"]
    struck.set()
    assert second.wait(10) and second.state == "done" and ledger._store.entries() == []
