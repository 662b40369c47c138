"""Jobs: each answer once, whoever asks and however often; stopped when told; honest when it fails."""

import subprocess
import sys
import threading
import weakref
from pathlib import Path

import numpy as np
import pytest

from cache.jobs import KEPT, Jobs, sentence
from cache.store import Store, StoreError

ROOT = Path(__file__).parents[2]
SOON = 10  # seconds any wait may take; none takes so long


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Gated:
    """Work that tells when it runs and goes on when let; counts its runs."""

    def __init__(self, payload: bytes = b"answer") -> None:
        self.payload = payload
        self.running, self.let = threading.Event(), threading.Event()
        self.runs = 0

    def __call__(self, progress) -> tuple[bytes, dict]:
        self.runs += 1
        progress(0, 2, "first batch")
        self.running.set()
        assert self.let.wait(SOON)
        progress(1, 2, "second batch")
        return self.payload, {"runs": self.runs}


def quick(progress) -> tuple[bytes, dict]:
    return b"quick", {}


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path)
    yield store
    store.close()


@pytest.fixture
def jobs(store):
    jobs = Jobs(store)
    yield jobs
    jobs.shutdown()


def test_an_answer_is_computed_and_stored(jobs, store):
    work = Gated()
    job = jobs.submit("k", "Similarity", work)
    assert work.running.wait(SOON)
    assert (job.key, job.label, job.state, job.active) == ("k", "Similarity", "running", True)
    assert (job.done, job.total, job.text, job.error) == (0, 2, "first batch", None)
    assert not job.wait(0)
    work.let.set()
    assert job.wait(SOON)
    assert (job.state, job.done, job.total, job.active, job.error) == ("done", 2, 2, False, None)
    assert job.seconds > 0 and job.started > 1.7e9
    assert (store.get("k"), store.about("k")) == (b"answer", {"runs": 1})


def test_a_known_answer_is_done_at_once(jobs, store):
    store.put("k", b"known", {})
    work = Gated()
    job = jobs.submit("k", "label", work)
    assert (job.state, job.started, job.seconds, job.wait(0)) == ("done", None, 0.0, True)
    assert work.runs == 0 and jobs.get("k") is job
    assert store.entries()[0].hits == 0  # asking whether it is known is no reading


def test_a_forgotten_answer_is_computed_again(jobs, store):
    assert jobs.submit("k", "label", quick).wait(SOON)
    store.delete("k")
    again = jobs.submit("k", "label", quick)
    assert again.wait(SOON) and again.started is not None and store.get("k") == b"quick"


def test_jobs_run_one_after_the_other_in_order(jobs):
    order, first = [], Gated()

    def named(name):
        def work(progress):
            order.append(name)
            return b"", {}

        return work

    jobs.submit("a", "a", first)
    assert first.running.wait(SOON)
    rest = [jobs.submit(name, name, named(name)) for name in "bcd"]
    assert [job.state for job in rest] == ["queued"] * 3 and order == []
    assert [job.key for job in jobs.list()] == ["a", "b", "c", "d"]
    first.let.set()
    assert all(job.wait(SOON) for job in rest) and order == ["b", "c", "d"]


def test_two_workers_run_two_at_once(store):
    jobs, one, two = Jobs(store, workers=2), Gated(), Gated()
    jobs.submit("a", "a", one), jobs.submit("b", "b", two)
    assert one.running.wait(SOON) and two.running.wait(SOON)
    one.let.set(), two.let.set()
    jobs.shutdown()


# --- once


def test_eight_threads_asking_one_key_compute_once(jobs):
    work, start, found = Gated(), threading.Barrier(8), []

    def ask():
        start.wait(SOON)
        found.append(jobs.submit("k", "label", work))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
    assert len(found) == 8 and len(set(map(id, found))) == 1
    work.let.set()
    assert found[0].wait(SOON) and work.runs == 1


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


def wait_for_text(job, text: str) -> None:
    """Wait until the job says so (it is told by polling every tenth of a second)."""
    patience = threading.Event()
    for _ in range(SOON * 100):
        if text in job.text:
            return
        patience.wait(0.01)
    raise AssertionError(f"{job.standing} never said {text!r}")


def test_two_processes_asking_one_key_compute_once(jobs, store, other):
    work = Gated()
    job = jobs.submit("k", "label", work)
    wait_for_text(job, "another process is computing this answer")
    assert job.state == "running" and job.eta is None
    out, err = other.communicate("go on\n", timeout=SOON)
    assert out == "done\n", err
    assert job.wait(SOON) and job.state == "done" and work.runs == 0
    assert store.get("k") == b"from another process"


def test_the_death_of_the_computing_process_hands_the_work_over(jobs, store, other):
    work = Gated()
    work.let.set()
    job = jobs.submit("k", "label", work)
    wait_for_text(job, "another process")
    other.kill()
    other.communicate()
    assert job.wait(SOON) and (job.state, work.runs) == ("done", 1)
    assert store.get("k") == b"answer"


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
    job.cancel(), work.let.set()
    assert job.wait(SOON) and jobs.submit("last", "label", quick).wait(SOON)  # the worker has left the others
    assert [job.state for job in jobs.list()] == ["done", "failed", "done", "cancelled", "done"]
    jobs.shutdown()
    assert list((store.directory / "locks").iterdir()) == []


def test_what_killed_processes_left_is_swept_at_the_start(store, other):
    (store.directory / "locks" / "left.lock").touch()
    Jobs(store)
    [in_use] = (store.directory / "locks").iterdir()
    assert in_use.name != "left.lock"
    other.kill(), other.communicate()
    Jobs(store)
    assert list((store.directory / "locks").iterdir()) == []


# --- nothing to store


def test_work_without_an_answer_is_a_job_like_any_other(jobs, store):
    inner = Gated()

    def load(progress):
        inner(progress)

    job = jobs.submit("load", "Loading", load)
    assert inner.running.wait(SOON) and jobs.submit("load", "Loading", load) is job
    assert (job.state, job.text, job.total) == ("running", "first batch", 2)
    inner.let.set()
    assert job.wait(SOON) and (job.state, job.done, job.error) == ("done", 2, None)
    assert store.entries() == []
    again = jobs.submit("load", "Loading", load)
    assert again is not job and again.wait(SOON) and (again.state, inner.runs) == ("done", 2)


def test_work_without_an_answer_can_be_cancelled(jobs):
    inner = Gated()
    job = jobs.submit("load", "Loading", lambda progress: inner(progress) and None)
    assert inner.running.wait(SOON)
    job.cancel(), inner.let.set()
    assert job.wait(SOON) and job.state == "cancelled"


# --- cancel


def test_cancel_between_batches(jobs, store):
    work = Gated()
    job = jobs.submit("k", "label", work)
    assert work.running.wait(SOON)
    job.cancel()
    assert job.cancelling and job.state == "running"
    work.let.set()
    assert job.wait(SOON) and job.state == "cancelled" and not job.cancelling
    assert (job.done, job.text, job.error, store.get("k")) == (0, "first batch", None, None)


def test_cancel_of_a_queued_job_is_immediate_and_it_never_runs(jobs):
    first, second = Gated(), Gated()
    jobs.submit("a", "a", first)
    assert first.running.wait(SOON)
    job = jobs.submit("b", "b", second)
    job.cancel()
    assert job.wait(0) and job.state == "cancelled"
    first.let.set()
    assert jobs.submit("c", "c", quick).wait(SOON) and second.runs == 0


def test_who_asks_while_it_is_being_cancelled_gets_a_new_job(jobs, store):
    work = Gated()
    job = jobs.submit("k", "label", work)
    assert work.running.wait(SOON)
    job.cancel()
    again = jobs.submit("k", "label", work)
    assert again is not job and again.state == "queued"
    work.let.set()
    assert again.wait(SOON) and (job.state, again.state) == ("cancelled", "done")
    assert store.get("k") == b"answer"


def test_a_cancel_that_comes_too_late_keeps_the_answer(jobs, store):
    running, let = threading.Event(), threading.Event()

    def work(progress):
        running.set()
        assert let.wait(SOON)
        return b"ready", {}

    job = jobs.submit("k", "label", work)
    assert running.wait(SOON)
    job.cancel()
    let.set()
    assert job.wait(SOON) and job.state == "done" and store.get("k") == b"ready"
    job.cancel()
    assert job.state == "done"


# --- failure


def failing(error: BaseException):
    def work(progress):
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("Layer 40 does not exist: write 0 to 29."), "Layer 40 does not exist: write 0 to 29."),
        (StoreError("The disk is full."), "The disk is full."),
        (KeyError("layers"), "KeyError: 'layers'"),
        (RuntimeError(), "RuntimeError: "),
        (SystemExit(3), "SystemExit: 3"),
    ],
)
def test_a_failed_job_says_why_and_can_be_asked_again(jobs, store, caplog, error, said):
    job = jobs.submit("k", "My label", failing(error))
    assert job.wait(SOON) and (job.state, job.error) == ("failed", said)
    assert "My label" in caplog.text and "Traceback" in caplog.text
    again = jobs.submit("k", "My label", quick)
    assert again.wait(SOON) and again.state == "done" and store.get("k") == b"quick"


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        np._core._exceptions._ArrayMemoryError((2**40,), np.dtype("f8")),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
    ],
)
def test_too_little_memory_names_what_helps(error):
    said = sentence(error)
    assert said.startswith("The memory is not enough. Ask with fewer windows, shorter windows or a smaller dtype.")
    assert (str(error).split("\n")[0] in said) and "\n" not in said


def test_an_answer_that_is_too_large_fails_with_a_sentence(tmp_path):
    jobs = Jobs(Store(tmp_path, limit=3))
    job = jobs.submit("k", "label", quick)
    assert job.wait(SOON) and job.state == "failed" and "takes at most 3 at once" in job.error
    jobs.shutdown()


def test_work_that_returns_something_else_fails(jobs):
    job = jobs.submit("k", "label", lambda progress: "text")
    assert job.wait(SOON) and job.state == "failed" and job.error.startswith("TypeError: ")


def test_a_store_that_cannot_be_read_leaves_no_job_behind(jobs, store):
    store._sql("DROP TABLE Cache")
    with pytest.raises(StoreError, match="could not be read"):
        jobs.submit("k", "label", quick)
    assert jobs.get("k") is None


# --- what a job says of itself


def test_eta_follows_the_pace_of_the_present_stage(store):
    clock = Clock()
    jobs = Jobs(store, clock=clock)
    seen = []

    def work(progress):
        job = jobs.get("k")

        def report(done, total):
            progress(done, total, "")
            seen.append(job.eta)

        report(0, 10)  # nothing known yet
        clock.now += 4
        report(2, 10)  # 2 s each, 8 left
        clock.now += 1
        seen.append(job.eta)  # time goes on between reports
        clock.now += 100
        seen.append(job.eta)  # and never below zero
        report(0, 1000)  # another stage: its own pace
        clock.now += 1
        report(500, 1000)
        seen.append((job.seconds, job.started))
        return b"", {}

    job = jobs.submit("k", "label", work)
    assert job.wait(SOON) and job.state == "done", job.error
    assert seen == [None, 16.0, 15.0, 0.0, None, 1.0, (106.0, 1000.0)]
    clock.now += 50
    assert (job.seconds, job.eta) == (106.0, None)
    jobs.shutdown()


def test_a_standing_is_consistent_in_itself(jobs):
    torn, stop = [], threading.Event()

    def work(progress):
        for number in range(3000):
            progress(number, 2 * number, str(number))
        return b"", {}

    def read():
        while not stop.is_set():
            now = job.standing
            if now.state == "running" and now.text and not (str(int(now.done)) == now.text and now.total == 2 * now.done):
                torn.append(now)

    job = jobs.submit("k", "label", work)
    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    assert job.wait(SOON)
    stop.set()
    for reader in readers:
        reader.join(SOON)
    assert torn == [] and job.state == "done"


def test_finished_work_is_let_go_of(jobs):
    class Model:
        pass

    def bound(model):
        return lambda progress: (b"", {"kept": repr(model)})

    model, gone = Model(), threading.Event()
    weakref.finalize(model, gone.set)
    jobs.submit("k", "label", bound(model))
    del model
    assert gone.wait(SOON), "a job that is over keeps a model in memory"


def test_finished_jobs_are_forgotten_on_request_and_in_time(jobs, store):
    store.put("known", b"", {})
    work = Gated()
    jobs.submit("a", "a", quick).wait(SOON)
    running = jobs.submit("b", "b", work)
    jobs.forget()
    assert jobs.list() == [running] and jobs.get("a") is None
    for number in range(KEPT + 5):
        store.put(f"k{number}", b"", {})
        jobs.submit(f"k{number}", "", quick)
    assert jobs.get("b") is running and len(jobs.list()) <= KEPT + 2
    work.let.set()


# --- the end


def test_shutdown_cancels_and_takes_nothing_more(store):
    jobs, started = Jobs(store), threading.Event()

    def endless(progress):
        while True:
            progress(0, 1, "")
            started.set()

    running = jobs.submit("a", "a", endless)
    assert started.wait(SOON)
    queued = jobs.submit("b", "b", quick)
    jobs.shutdown()
    assert (running.state, queued.state) == ("cancelled", "cancelled")
    with pytest.raises(RuntimeError, match="shutting down"):
        jobs.submit("c", "c", quick)
    assert not any(thread.is_alive() for thread in jobs._threads)


def test_the_process_can_end_while_a_job_runs(tmp_path):
    code = """
import sys, threading
from pathlib import Path
from cache.jobs import Jobs
from cache.store import Store
running = threading.Event()
def work(progress):
    running.set()
    threading.Event().wait()
Jobs(Store(Path(sys.argv[1]))).submit("k", "label", work)
assert running.wait(10)
print("leaving")
"""
    done = subprocess.run([sys.executable, "-c", code, tmp_path], cwd=ROOT, capture_output=True, text=True, timeout=SOON)
    assert (done.returncode, done.stdout) == (0, "leaving\n"), done.stderr


def test_nothing_here_knows_streamlit_or_models():
    code = "import sys, cache.jobs, cache.codec, cache.keys; print({'streamlit', 'torch', 'models'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert out.stdout == "set()\n", out.stderr


def test_what_a_full_disk_refuses_is_not_computed_again(tmp_path):
    class Full(Store):
        full = True

        def put(self, key, payload, about):
            if self.full:
                raise StoreError("The disk is full.")
            super().put(key, payload, about)

    store, calls = Full(tmp_path / "answers"), []

    def work(progress):
        calls.append(1)
        return b"answer", {}

    jobs = Jobs(store)
    failed = jobs.submit("k", "label", work)
    assert failed.wait(10) and failed.state == "failed"
    assert "disk is full" in failed.error and "waits in memory" in failed.error
    store.full = False
    again = jobs.submit("k", "label", work)
    assert again.wait(10) and again.state == "done"
    assert store.get("k") == b"answer" and len(calls) == 1
    jobs.shutdown()
