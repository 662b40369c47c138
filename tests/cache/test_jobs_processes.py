"""Jobs among processes: one computes, the others wait, may give up, or take over when it dies."""

import subprocess
import sys

import pytest

from cache.jobs import Jobs
from tests.cache.stores import ROOT
from tests.cache.work import SOON, Gated, failing, quick, wait_for_text

ASKER = """
import sys
from pathlib import Path
from cache.jobs import Jobs
from cache.store import Store

def work(progress):
    print("computing")
    sys.stdin.readline()
    progress(1, 2, "half")
    return b"from another process", {}

job = Jobs(Store(Path(sys.argv[1]))).submit("k", "label", work)
job.wait(30)
print(job.state)
"""


@pytest.fixture
def other(store):
    """A process that has asked for "k" and computes it once it gets a line."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-u", "-c", ASKER, str(store.directory)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    line = process.stdout.readline()
    assert line == "computing\n", line + process.stderr.read()
    yield process
    process.kill()  # also when the test fails: nobody else would
    process.wait()


def test_two_processes_asking_one_key_compute_once(jobs, store, other):
    work = Gated()
    job = jobs.submit("k", "label", work)
    wait_for_text(job, "another process is computing this answer")
    assert job.state == "running" and job.eta is None
    out, err = other.communicate("go on\n", timeout=SOON)
    assert out == "done\n", err
    assert job.wait(SOON) and job.state == "done" and work.runs == 0
    assert store.read("k").payload == b"from another process"


def test_what_is_no_answer_waits_under_its_own_words(jobs, other):
    job = jobs.submit("k", "label", Gated(), "another process is loading this model")
    wait_for_text(job, "another process is loading this model")
    other.communicate("go on\n", timeout=SOON)
    assert job.wait(SOON) and job.state == "done"


def test_the_death_of_the_computing_process_hands_the_work_over(jobs, store, other):
    work = Gated()
    work.let.set()
    job = jobs.submit("k", "label", work)
    wait_for_text(job, "another process")
    other.kill()
    other.communicate()
    assert job.wait(SOON) and (job.state, work.runs) == ("done", 1)
    assert store.read("k").payload == b"answer"


def test_waiting_for_another_process_can_be_cancelled(jobs, other):
    work = Gated()
    job = jobs.submit("k", "label", work)
    wait_for_text(job, "another process")
    job.cancel()
    assert job.wait(SOON) and (job.state, work.runs) == ("cancelled", 0)
    other.communicate("go on\n", timeout=SOON)


def test_keys_that_look_like_paths_stay_in_the_folder(jobs, store):
    work = Gated()
    job = jobs.submit("../../x", "label", work)
    assert work.running.wait(SOON)
    assert len(list((store.directory / "locks").iterdir())) == 1
    work.let.set()
    assert job.wait(SOON) and job.state == "done"
    assert list((store.directory / "locks").iterdir()) == []


def test_no_lock_file_is_left_whatever_the_end(jobs, store, caplog):
    for key, work in {"done": quick, "failed": failing(ValueError("No.")), "nothing": lambda progress: None}.items():
        assert jobs.submit(key, key, work).wait(SOON)
    work = Gated()
    job = jobs.submit("cancelled", "label", work)
    assert work.running.wait(SOON)
    job.cancel()
    work.let.set()
    assert job.wait(SOON) and jobs.submit("last", "label", quick).wait(SOON)  # the worker has left the others
    assert [job.state for job in jobs.list()] == ["done", "failed", "done", "cancelled", "done"]
    jobs.shutdown()
    assert list((store.directory / "locks").iterdir()) == []


def test_what_killed_processes_left_is_swept_at_the_start(store, other):
    (store.directory / "locks" / "left.lock").touch()
    Jobs(store)
    [in_use] = (store.directory / "locks").iterdir()
    assert in_use.name != "left.lock"
    other.kill()
    other.communicate()
    Jobs(store)
    assert list((store.directory / "locks").iterdir()) == []
