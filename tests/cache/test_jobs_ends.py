"""How jobs end before their time: cancelled, or failed with a sentence."""

import threading

import numpy as np
import pytest

from cache.jobs import Jobs, sentence
from cache.store import Store, StoreError
from tests.cache.work import SOON, Gated, failing, quick


def test_cancel_between_batches(jobs, store):
    work = Gated()
    job = jobs.submit("k", "label", work)
    assert work.running.wait(SOON)
    job.cancel()
    assert job.cancelling and job.state == "running"
    work.let.set()
    assert job.wait(SOON) and job.state == "cancelled" and not job.cancelling
    assert (job.done, job.text, job.error, store.read("k")) == (0, "first batch", None, None)


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
    assert store.read("k").payload == b"answer"


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
    assert job.wait(SOON) and job.state == "done" and store.read("k").payload == b"ready"
    job.cancel()
    assert job.state == "done"


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
    assert again.wait(SOON) and again.state == "done" and store.read("k").payload == b"quick"


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
    assert said.startswith("There is not enough memory. Use fewer windows, shorter windows or a smaller dtype.")
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
    assert "disk is full" in failed.error and "held in memory" in failed.error
    store.full = False
    again = jobs.submit("k", "label", work)
    assert again.wait(10) and again.state == "done"
    assert store.read("k").payload == b"answer" and len(calls) == 1
    jobs.shutdown()


def test_what_follows_the_end_may_fail(jobs):
    """The job has ended, and the next one on its device runs."""

    def fail(job):
        raise OSError("no")

    first = jobs.submit("a", "a", quick, on_end=fail)
    second = jobs.submit("b", "b", quick)
    assert first.wait(SOON) and second.wait(SOON) and (first.state, second.state) == ("done", "done")
