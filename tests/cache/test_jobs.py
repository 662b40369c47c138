"""Jobs: each answer once, whoever asks and however often, in the order in which they were asked."""

import subprocess
import sys
import threading

import pytest

from cache.jobs import Jobs
from tests.cache.stores import ROOT
from tests.cache.work import SOON, Gated, quick


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
    assert (store.read("k").payload, store.about("k")) == (b"answer", {"runs": 1})


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
    assert again.wait(SOON) and again.started is not None and store.read("k").payload == b"quick"


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


def test_what_is_asked_of_one_device_does_not_wait_for_another(jobs):
    one, two, three = Gated(), Gated(), Gated()
    jobs.submit("a", "a", one, device="cpu")
    assert one.running.wait(SOON)
    other = jobs.submit("b", "b", two, device="cuda")
    behind = jobs.submit("c", "c", three, device="cpu")
    assert two.running.wait(SOON), "though the first one runs"
    assert (jobs.ahead(behind), behind.state, other.device) == (1, "queued", "cuda")
    two.let.set()
    assert other.wait(SOON) and behind.state == "queued"
    one.let.set()
    assert three.running.wait(SOON)
    three.let.set()


def test_a_thread_works_for_a_device_while_there_is_work(jobs):
    for key, device in enumerate(("cpu", "cuda", "cpu")):
        assert jobs.submit(str(key), "", quick, device=device).wait(SOON)
    for thread in list(jobs._threads.values()):
        thread.join(SOON)
    assert jobs._threads == {} and not jobs._waiting


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

    def load(progress):
        inner(progress)

    job = jobs.submit("load", "Loading", load)
    assert inner.running.wait(SOON)
    job.cancel()
    inner.let.set()
    assert job.wait(SOON) and job.state == "cancelled"


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
    assert jobs._threads == {}


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
