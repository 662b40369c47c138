"""Jobs of several people on the pages: what an end of the process interrupted, whose job it is, and who may end it."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

import pytest

from models.generate import Settings
from pages import shell
from plans.plan import EMPTY
from probes.answer import submit
from probes.generation.writing import Writing
from probes.question import Question, resolve
from texts.corpus import CorpusRef


@pytest.fixture
def asked(visit):
    """A question on the tiny model, and a visitor of Storage."""
    visitor = visit("similarity")
    question = Question("similarity", visitor.ref, visitor_corpus(visitor))
    return visitor, resolve(question, visitor.bench.known.identify)


def visitor_corpus(visitor):
    state = visitor.at.session_state
    return CorpusRef(state["corpus"], int(state["windows"]), int(state["length"]))


def test_an_interrupted_question_goes_on_by_one_click(asked):
    visitor, question = asked
    visitor.bench.ledger.write(question.key, asdict(question.question), "ann")
    visitor.go("storage")
    assert "Interrupted" in visitor.texts() and "asked by ann" in visitor.texts()
    visitor.click(f"on_{question.key[:12]}").wait()
    assert "Interrupted" not in visitor.texts()
    assert visitor.bench.store.has(question.key)
    assert visitor.go("similarity").figures()


def test_an_interrupted_question_can_be_let_go(asked):
    visitor, question = asked
    visitor.bench.ledger.write(question.key, asdict(question.question), "local")
    visitor.go("storage").click(f"gone_{question.key[:12]}").look()
    assert "Interrupted" not in visitor.texts()


def test_a_question_that_makes_no_sense_any_more_is_told(asked):
    visitor, _ = asked
    visitor.bench.ledger.write("0" * 64, {"probe": "gone", "model": {}, "corpus": {}}, "ann")
    assert "can no longer be asked" in visitor.go("storage").texts()


def test_a_click_notes_the_question_and_its_end_strikes_it_out(asked):
    visitor, question = asked
    noted = []
    write = visitor.bench.ledger.write
    visitor.bench.ledger.write = lambda key, *rest: (noted.append(key), write(key, *rest))
    visitor.click("ask_similarity").wait()
    assert noted == [question.key]
    assert visitor.bench.ledger._store.entries() == []


class Endless:
    """An executor that never comes to the first token."""

    def __init__(self):
        self.begun = threading.Event()

    def write(self, writing, progress):
        while True:
            self.begun.set()
            progress(0, 0, "waiting for the model")
            yield from ()


def test_a_server_that_stops_ends_what_is_written_and_keeps_what_is_asked(asked):
    visitor, question = asked
    bench, executor = visitor.bench, Endless()
    bench.executor = executor
    live = bench.live(bench.write(Writing(visitor.ref, CorpusRef(), (EMPTY,), "the", Settings())))
    assert executor.begun.wait(60)
    bench.stop(5)
    assert live.over.wait(60) and live.error == "Stopped before the first token."
    with pytest.raises(RuntimeError, match="is taking no more questions"):
        submit(bench.jobs, question, executor.write, "ann", bench.ledger)
    assert [line.owner for line in bench.ledger.interrupted(lambda key: False)] == ["ann"]


@pytest.fixture
def of_ann(visit):
    """The drop lab while a job of somebody else runs."""
    visitor, begun, gate = visit("storage"), threading.Event(), threading.Event()

    def work(progress):
        begun.set()
        assert gate.wait(60)
        progress(0, 1, "")

    job = visitor.bench.jobs.submit("0" * 64, "Search", work, owner="ann")
    assert begun.wait(60)
    yield visitor, job, gate
    gate.set()


def test_an_operator_ends_another_s_job_and_says_so(of_ann):
    visitor, job, gate = of_ann
    visitor.look()
    assert "asked by ann" in visitor.texts()
    visitor.click(f"stop_{job.key[:12]}")
    gate.set()
    assert job.wait(60) and job.error == "local cancelled it as an operator."
    assert "cancelled it as an operator" in visitor.look().texts()


def test_who_asked_too_takes_back_only_their_own_question(of_ann):
    visitor, job, gate = of_ann
    visitor.bench.jobs.submit(job.key, "", None, owner="local")
    visitor.look().click(f"stop_{job.key[:12]}")
    assert job.active and not job.cancelling and job.askers == ("ann",)
    gate.set()


def test_an_answer_that_goes_on_without_its_visitor_is_stopped_by_its_owner(visit):
    lab = visit("drop_lab", plan="a1", answer_length=4000)
    lab.click("answer")
    [live] = lab.bench.lives()
    other = visit("storage")
    assert live.owner == "local" and "Answers · " in other.texts()
    other.click("end_0")
    assert live.over.wait(60) and len(live.tokens[0]) < 4000
    assert "Answers · " not in other.look().texts()


def test_answers_are_not_listed_while_somebody_begins_one():
    """A table that grows while it is read is a traceback on Storage."""
    bench = shell.workbench()
    with ThreadPoolExecutor() as pool:
        with bench._lock:
            listed = pool.submit(bench.lives)
            with pytest.raises(TimeoutError):
                listed.result(0.2)
        assert listed.result(60) == []
