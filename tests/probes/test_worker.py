"""A process of its own that answers: the same bytes, progress and cancels both ways, and its end is no end of the app."""

import os
import signal
import subprocess
import sys
import threading
from dataclasses import asdict, replace

import pytest

from cache.jobs import Cancelled, Jobs
from models.generate import Settings
from models.subject import ModelRef
from plans.plan import EMPTY, parse
from probes.answer import answer, open_store, submit
from probes.executors.threads import Threads
from probes.executors.worker import Worker
from probes.generation.writing import Writing
from probes.known import Known
from probes.question import Question, resolve
from refusal import Refusal, silent
from texts.corpus import CorpusRef

SECONDS = 60
TEXT = "The capital of France is Paris, and the capital of the arts. " * 9


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("PRUNESCOPE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "prose.txt").write_text(TEXT)
    return open_store()


@pytest.fixture
def worker(store):
    made = Worker(store)
    yield made
    made.end()


@pytest.fixture
def question(tiny_folder, tmp_path):
    return Question("fidelity", ModelRef(str(tiny_folder), device="cpu"), CorpusRef(str(tmp_path / "prose.txt"), 2, 16), "a1")


def asked(question, store):
    return resolve(question, Known(store).identify)


def test_the_same_question_has_the_same_bytes(store, worker, question):
    here = asked(question, store)
    steps = []
    worker.answer(here, lambda *step: steps.append(step))
    there = store.read(here.key).payload
    threads = Threads(store, Known(store))
    bytes_, about = answer(here, threads.leases.lease, store)
    assert there == bytes_ and steps
    assert store.read(here.key).about["question"] == about["question"]


def test_what_is_wrong_is_told_as_in_threads(store, worker, question):
    wrong = asked(replace(question, plan="a99"), store)
    with pytest.raises(Refusal) as here:
        answer(wrong, Threads(store, Known(store)).leases.lease, store)
    with pytest.raises(Refusal) as there:
        worker.answer(wrong, silent)
    assert str(there.value) == str(here.value)


def test_a_cancel_reaches_it(store, worker, question):
    def cancel(done, total, text=""):
        raise Cancelled("no more")

    with pytest.raises(Cancelled, match="no more"):
        worker.answer(asked(question, store), cancel)
    assert not store.has(asked(question, store).key)
    worker.answer(asked(question, store), silent)  # it goes on serving


def test_a_job_that_rests_here_rests_there(store, worker, question):
    jobs = Jobs(store)
    with jobs.goes_first():
        job = submit(jobs, asked(question, store), worker.answer)
        while "a live answer goes first" not in job.text:
            assert not job.wait(0.01)
    assert job.wait(SECONDS) and job.state == "done"
    jobs.shutdown()


def test_a_signal_to_all_processes_leaves_it_to_its_parent(store, worker, question):
    worker.load(question.model, silent)
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(worker._process.pid, number)
    [resident] = worker.residents()
    assert resident.ref == question.model


def test_killed_it_says_so_and_the_next_question_starts_another(store, worker, question):
    worker.load(question.model, silent)
    [resident] = worker.residents()
    assert resident.ref == question.model and resident.holders == 0
    first = worker._process.pid

    def kill(done, total, text=""):
        os.kill(worker._process.pid, signal.SIGKILL)

    with pytest.raises(Refusal, match="the system killed it, perhaps because it used too much memory"):
        worker.answer(asked(question, store), kill)
    assert worker.residents() == []
    worker.answer(asked(question, store), silent)
    assert worker._process.pid != first and store.has(asked(question, store).key)


def test_whoever_waits_for_a_killed_one_is_told_though_another_runs_already(store, worker, question, monkeypatch):
    """It dies in the middle of a line, and somebody asks before that is noticed."""
    dying = "import sys; sys.stdin.readline(); sys.stdout.write('[1, 2'); sys.stdout.flush(); sys.exit(3)"
    real, listen, gate = subprocess.Popen, worker._listen, threading.Event()
    monkeypatch.setattr(worker, "_listen", lambda process: (gate.wait(SECONDS), listen(process)))
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", lambda command, **more: real([sys.executable, "-c", dying], **more))
        errors = []

        def ask():
            try:
                worker.load(question.model, silent)
            except Refusal as refusal:
                errors.append(str(refusal))

        first = threading.Thread(target=ask)
        first.start()
        while worker._process is None or worker._process.poll() is None:
            first.join(0.05)
    second = threading.Thread(target=worker.load, args=(question.model, silent))
    second.start()
    while not worker.alive:
        second.join(0.05)
    gate.set()
    first.join(SECONDS)
    second.join(SECONDS)
    assert len(errors) == 1 and "exit code 3" in errors[0]
    assert [each.ref for each in worker.residents()] == [question.model]


def test_it_is_let_go_of(store, worker, question):
    assert worker.release() == 0, "and none is begun for that"
    assert not worker.alive
    worker.load(question.model, silent)
    assert worker.release("nothing") == 0 and worker.release() == 1 and worker.residents() == []


def test_tokens_come_one_by_one_and_are_those_of_threads(store, worker, question):
    writing = Writing(question.model, question.corpus, (EMPTY, parse("a1")), "The capital", Settings(length=5))
    there = list(worker.write(writing, silent))
    here = list(Threads(store, Known(store)).write(writing, silent))
    assert len(there) == 11 and there[0].token is None

    def without_times(each):
        return replace(each, token=each.token and replace(each.token, seconds=0.0))

    assert [without_times(each) for each in there] == [without_times(each) for each in here]


def test_an_answer_that_nobody_reads_any_more_ends(store, worker, question):
    writing = Writing(question.model, question.corpus, (EMPTY,), "The capital", Settings(length=4000))
    tokens = worker.write(writing, silent)
    for _ in range(3):
        next(tokens)
    tokens.close()
    over = threading.Event()
    while worker.residents()[0].holders:
        assert not over.wait(0.05)
    assert worker.release() == 1


def test_several_are_served_at_once(store, worker, question):
    writing = Writing(question.model, question.corpus, (EMPTY,), "The capital", Settings(length=40))
    found = []
    threads = [threading.Thread(target=lambda: found.append(list(worker.write(writing, silent)))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    ids = {tuple(each.token and each.token.id for each in written) for written in found}
    assert len(found) == 3 and len(ids) == 1


def test_what_it_takes_little_time_is_answered_only_where_the_model_is(store, worker, question):
    cost = asked(Question("cost", question.model, plan="a1"), store)
    worker.at_once(cost)
    assert not worker.alive and not store.has(cost.key)
    worker.load(question.model, silent)
    worker.at_once(cost)
    assert store.has(cost.key)


def test_a_request_to_a_process_that_has_ended_is_not_worked_on_by_the_next(store, worker, question):
    """Nobody would tell it to go on, and it would hold the model for ever."""
    with worker._talk() as first:
        worker.end()
        assert worker.release() == 0 and worker._done("residents", {}, silent) == [] and worker.alive
        assert "has ended" in first.ask({"what": "load", "ref": asdict(question.model)})["failed"]
    assert worker.residents() == []
