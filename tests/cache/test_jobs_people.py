"""Several people at one queue: turns, questions that two of them asked, and answers that somebody watches."""

import threading

import pytest

from cache.jobs import Jobs
from cache.rests import YIELD

SECONDS = 20


@pytest.fixture
def busy(jobs):
    """A job that runs until the gate is opened."""
    gate, begun = threading.Event(), threading.Event()

    def work(progress):
        begun.set()
        assert gate.wait(SECONDS)

    jobs.submit("busy", "busy", work, owner="ann")
    assert begun.wait(SECONDS)
    yield gate
    gate.set()


def test_ten_questions_of_one_do_not_starve_another(jobs, busy):
    served = []
    for i in range(10):
        jobs.submit(f"a{i}", "", lambda progress, i=i: served.append(f"a{i}"), owner="ann")
    job = jobs.submit("b0", "", lambda progress: served.append("b0"), owner="bob")
    assert (jobs.ahead(job), jobs.ahead(jobs.get("a9"))) == (2, 11)
    busy.set()
    assert all(each.wait(SECONDS) for each in jobs.list())
    assert served == ["a0", "b0", *(f"a{i}" for i in range(1, 10))]
    assert jobs.ahead(job) is None


def test_who_asks_for_what_another_waits_for_brings_it_forward(jobs, busy):
    served = []
    for i in range(5):
        jobs.submit(f"a{i}", "", lambda progress, i=i: served.append(f"a{i}"), owner="ann")
    job = jobs.submit("a4", "", lambda progress: served.append("a4"), owner="bob")
    assert job.askers == ("ann", "bob") and jobs.ahead(job) == 2
    busy.set()
    assert all(each.wait(SECONDS) for each in jobs.list())
    assert served == ["a0", "a4", "a1", "a2", "a3"], "and it runs once"


def test_a_job_ends_when_nobody_wants_it_any_more(jobs, busy):
    job = jobs.submit("key", "", lambda progress: None, owner="ann")
    jobs.submit("key", "", None, owner="bob")
    assert not job.withdraw("ann") and job.active and job.askers == ("bob",)
    assert job.withdraw("bob") and job.state == "cancelled"


def test_who_is_cancelled_by_another_is_told_why(jobs, busy):
    job = jobs.submit("key", "", lambda progress: None, owner="ann")
    job.cancel("The operator needs the machine.")
    assert (job.state, job.error) == ("cancelled", "The operator needs the machine.")
    running = jobs.get("busy")
    running.cancel("Enough.")
    busy.set()
    assert running.wait(SECONDS)


def test_a_running_job_tells_why_it_was_cancelled(jobs):
    begun = threading.Event()

    def work(progress):
        begun.set()
        while True:
            progress(0, 1, "")

    job = jobs.submit("key", "", work)
    assert begun.wait(SECONDS)
    job.cancel("Enough.")
    assert job.wait(SECONDS) and (job.state, job.error) == ("cancelled", "Enough.")


def test_a_live_answer_goes_first(jobs):
    steps, waiting = [], threading.Event()
    begun, on = threading.Event(), threading.Event()

    def work(progress):
        begun.set()
        assert on.wait(SECONDS)
        for i in range(3):
            progress(i, 3, f"step {i}")
            steps.append(i)

    job = jobs.submit("key", "", work)
    assert begun.wait(SECONDS)
    with jobs.goes_first():
        on.set()
        while "a live answer goes first" not in job.text:
            waiting.wait(0.01)
        assert steps == []
    assert job.wait(SECONDS) and steps == [0, 1, 2] and job.state == "done"


def test_a_job_that_waits_can_be_cancelled(jobs):
    job = jobs.submit("key", "", lambda progress: [progress(0, 1, "") for _ in range(9)] and None)
    with jobs.goes_first():
        job.cancel()
        assert job.wait(SECONDS) and job.state in ("cancelled", "done")


def test_it_is_slowed_and_never_stopped(store):
    """After a rest it works for as long as it rested, whatever is live."""

    class Clock:
        now = 0.0

        def __call__(self):
            return self.now

    clock, rests = Clock(), []
    jobs = Jobs(store, clock=clock)

    def work(progress):
        for i in range(40):
            before = clock.now
            progress(i, 40, "")
            rests.append(clock.now - before)
            clock.now += 1

    wait = jobs._rests._changed.wait

    def rest(timeout=None):
        if timeout != 0.1:
            return wait(timeout)
        clock.now += 1

    jobs._rests._changed.wait = rest
    with jobs.goes_first():
        job = jobs.submit("key", "", work)
        assert job.wait(SECONDS) and job.state == "done"
    assert sum(rests) / 40 <= 1.5 and max(rests) <= 11 and sum(rest > 0 for rest in rests) >= 3


def test_only_jobs_on_the_same_device_rest(jobs):
    def work(progress):
        for i in range(3):
            progress(i, 3, "")

    with jobs.goes_first("cuda"):
        assert jobs.submit("key", "", work, device="cpu").wait(YIELD / 2)
        waits = jobs.submit("other", "", work, device="cuda")
        while "a live answer goes first" not in waits.text:
            assert not waits.wait(0.01)
    assert waits.wait(SECONDS)


def test_people_take_turns_on_each_device(jobs, busy):
    served = []
    for i in range(3):
        jobs.submit(f"a{i}", "", lambda progress, i=i: served.append(f"a{i}"), owner="ann")
    first = jobs.submit("c0", "", lambda progress: served.append("c0"), owner="ann", device="cuda")
    assert first.wait(SECONDS) and served == ["c0"]
    jobs.submit("b0", "", lambda progress: served.append("b0"), owner="bob")
    busy.set()
    assert all(each.wait(SECONDS) for each in jobs.list())
    assert served == ["c0", "a0", "b0", "a1", "a2"]


def test_nobody_joins_what_its_last_asker_takes_back(jobs):
    """Whoever asks in that very moment gets a job of their own."""
    gate, begun, joined = threading.Event(), threading.Event(), []

    def work(progress):
        begun.set()
        assert gate.wait(SECONDS)
        progress(0, 1, "")

    first = jobs.submit("key", "", work, owner="ann")
    assert begun.wait(SECONDS)
    cancel = first.cancel
    first.cancel = lambda: (joined.append(jobs.submit("key", "", lambda progress: None, owner="bob")), cancel())
    assert first.withdraw("ann")
    gate.set()
    assert joined[0] is not first and joined[0].wait(SECONDS) and joined[0].state == "done"
