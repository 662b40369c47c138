"""What a job says of itself, and what is left of it when it is over."""

import inspect
import os
import sys
import threading
import time
import weakref

import pytest

from cache.job import Job
from cache.jobs import KEPT, Jobs
from cache.rests import COMPUTING
from tests.cache.work import SOON, Gated, quick


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


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
        seen.append(job.seconds)
        return b"", {}

    job = jobs.submit("k", "label", work)
    assert job.wait(SOON) and job.state == "done", job.error
    assert seen == [None, 16.0, 15.0, 0.0, None, 1.0, 106.0]
    clock.now += 50
    assert (job.seconds, job.eta) == (106.0, None)
    jobs.shutdown()


def test_a_time_of_day_that_jumps_changes_no_duration(store, monkeypatch):
    clock, day = Clock(), Clock()
    monkeypatch.setattr(time, "time", day)
    jobs = Jobs(store, clock=clock)

    def work(progress):
        day.now -= 10**6
        clock.now += 4
        progress(2, 10, "")
        seen.append((job.seconds, job.eta, job.started))
        return b"", {}

    seen, begun = [], day.now
    job = Job("k", "label", clock)
    assert job._start()
    work(job._progress)
    job._finish("done")
    assert seen == [(4.0, 16.0, begun)] and (job.seconds, job.started) == (4.0, begun)
    assert jobs._clock is clock and inspect.signature(Jobs).parameters["clock"].default is time.monotonic
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


def priority():
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives each thread a priority")
def test_work_and_its_threads_leave_the_processor_to_the_pages(jobs):
    page, seen = priority(), []

    def work(progress):
        seen.append(priority())
        other = threading.Thread(target=lambda: seen.append(priority()))
        other.start()
        other.join()

    assert jobs.submit("k", "k", work).wait(SOON)
    assert seen == [min(19, page + COMPUTING)] * 2
    assert priority() == page
