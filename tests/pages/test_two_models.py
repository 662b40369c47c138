"""Several models in one process: every page shows its own, whoever loads, unloads or misspells another one."""

import threading

import pytest
from huggingface_hub import constants

from tests.pages.visitor import Visitor

LAB = {"plan": "a1", "answer_length": 6}


def of_model(visitor, name):
    """Whether everything stored under the visitor's questions is about this model."""
    return {each.about["question"]["model"]["name"] for each in visitor.answers[:1]} == {str(name)}


def writes(visitor):
    """Ids of what the dense model answers in the drop lab."""
    visitor.go("drop_lab").click("answer").wait()
    return [token.id for token in visitor.bench.lives()[-1].tokens[0]]


def test_a_link_to_one_model_never_shows_the_numbers_of_another(visit, link, other):
    one = visit("similarity").click("ask_similarity").wait()
    numbers = one.figures()["importance"]
    two = Visitor("similarity", **(link | {"model": other}))
    assert "never been loaded here" in two.texts() and not two.figures() and not two.has("ask_similarity")
    two.click("load_here").wait()
    assert not two.figures(), "it is loaded, but not measured"
    two.click("ask_similarity").wait()
    assert of_model(two, other) and two.figures()["importance"] != numbers
    assert one.look().figures()["importance"] == numbers
    one.at.text_input(key="model").set_value(str(other)).run()
    assert one.whole().figures()["importance"] == two.figures()["importance"]


def test_a_button_asks_about_the_model_of_its_page(visit, link, other):
    """The first person's page was drawn before the second one loaded another model, and is clicked after that."""
    one = visit("similarity")
    visit("model", model=other)
    one.click("ask_similarity").wait()
    assert of_model(one, link["model"]) and one.answers[0].about["question"]["model"]["fingerprint"] == one.subject.fingerprint
    two = Visitor("similarity", **(link | {"model": other}))
    assert not two.figures()
    two.click("ask_similarity").wait()
    assert of_model(two, other)


@pytest.mark.parametrize(
    "page, ask", [("drop_lab", "ask_fidelity"), ("key_rank", "ask_key_rank"), ("deviation", "ask_transitions")]
)
def test_every_page_asks_about_its_own_model(visit, link, other, page, ask):
    visit(page, plan="a1").click(ask).wait()
    two = visit(page, plan="a1", model=other)
    assert two.has(ask), "the answer of the other model was shown"
    two.click(ask).wait()
    assert of_model(two, other) and not two.has(ask) and len(two.answers) == 2


def test_two_people_load_two_models_at_once(link, deeper):
    one, two = Visitor(**link), Visitor(**(link | {"model": deeper}))
    one.click("load_main")
    two.click("load_main")
    one.wait()
    two.wait()
    names = {each.ref.name for each in one.bench.executor.leases.residents()}
    assert names == {str(link["model"]), str(deeper)}
    assert "4 layers" in one.texts() and "5 layers" not in one.texts()
    assert "5 layers" in two.texts() and "4 layers" not in two.texts()
    assert len(one.figures()["sizes"]["data"][0]["y"]) == 4 and len(two.figures()["sizes"]["data"][0]["y"]) == 5


def test_two_people_write_with_two_models_at_once(visit, link, other):
    one, two = visit("drop_lab", **LAB), visit("drop_lab", model=other, **LAB)
    alone = [writes(each) for each in (one, two)]
    assert alone[0] != alone[1]
    bench = one.bench
    threads = [threading.Thread(target=bench.executor.leases.release) for _ in range(8)]
    one.click("answer")
    two.click("answer")
    for thread in threads:  # somebody unloads all that nobody holds
        thread.start()
    one.wait()
    two.wait()
    both = [[token.id for token in live.tokens[0]] for live in bench.lives()[-2:]]
    assert both == alone and not one.errors() and not two.errors()


def test_a_bad_name_costs_nobody_the_loaded_model(visit, link, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    one = visit("drop_lab", **LAB)
    model, first = one.subject.model, writes(one)
    two = Visitor(**(link | {"model": "nobody/nothing"})).click("load_main").wait()
    assert any("'nobody/nothing'" in each for each in two.errors())
    assert one.subject.model is model and one.look().bench.executor.leases.resident(one.subject.fingerprint)
    assert writes(one) == first and not one.errors()
    assert [job.state for job in one.bench.jobs.list()] == ["done", "failed"]
