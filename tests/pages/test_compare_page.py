"""Compare: prompts answered side by side, found again by the link, voted on blind."""

import json
from dataclasses import astuple

import pytest

from charts.generation.answers import texts
from probes.answer import find
from probes.generation.comparison import found as comparison_of
from probes.generation.votes import SEEN, Vote, cast, pairs_for
from probes.question import resolve
from tests.pages.visitor import Visitor

PROMPTS = "The capital of France is\nOne, two, three"


@pytest.fixture
def compared(visit):
    """The page with every answer there."""
    visitor = visit("compare", plan="a1")
    visitor.at.text_area(key="compare_prompts").set_value(PROMPTS)
    visitor.at.text_area(key="compare_plans").set_value("a1\nb0-2")
    visitor.at.number_input(key="compare_length").set_value(12)
    return visitor.click("compare_ask").wait()


def link(visitor):
    named = visitor.at.query_params["comparison"]
    return named if isinstance(named, str) else named[0]


def test_answers_stand_side_by_side(compared):
    rows = compared.table("notice")
    assert [(row["prompt"], row["plan"]) for row in rows] == [(p, plan) for p in PROMPTS.split("\n") for plan in ("a1", "b0-2")]
    assert all(row["KL"] > 0 and 0 <= row["ROUGE-L"] <= 1 for row in rows)
    assert not compared.has("ask_answers")
    compared.click("compare_next")
    assert "One, two, three" in compared.texts() and compared.at.session_state["compare_prompt"] == 1
    compared.select("compare_table", rows=[0], columns=[], cells=[])
    assert compared.at.session_state["compare_prompt"] == 0


def test_anybody_finds_it_by_its_link(compared, visit):
    other = visit("compare", comparison=link(compared))
    assert other.table("notice") == compared.table("notice")
    assert other.at.text_area(key="compare_plans").value == ""
    other.click("compare_take")
    assert other.at.text_area(key="compare_plans").value == "a1\nb0-2"
    assert other.at.text_area(key="compare_prompts").value == PROMPTS


def test_what_is_known_is_not_written_again(compared):
    known = {entry.key for entry in compared.answers}
    compared.at.text_area(key="compare_plans").set_value("a1\nm2").run()
    compared.click("compare_ask").wait()
    fresh = {entry.key: entry.about["question"] for entry in compared.answers if entry.key not in known}
    assert [each["plan"] for each in fresh.values()] == ["m2"]


def test_what_was_deleted_is_asked_again(compared):
    key = next(e.key for e in compared.answers if e.about["question"]["plan"] == "a1")
    compared.bench.store.delete(key)
    compared.look()
    assert compared.has("ask_answers") and "The capital of France is" in compared.texts()
    compared.click("ask_answers").wait()
    assert compared.table("notice")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"compare_plans": ""}, "nothing to compare"),
        ({"compare_plans": "x9"}, "'x9' is not part of a plan"),
        ({"compare_plans": "a0\na1\na2\na3\nm0"}, "too many to read"),
        ({"compare_plans": "a0\na0"}, "the same"),
        ({"compare_prompts": '{"prompt": "a"}\n{"no": 1}'}, "Line 2"),
        ({"compare_plans": "a0 @ /no/such/model"}, "/no/such/model"),
    ],
)
def test_what_cannot_be_compared_is_told(visit, fields, says):
    visitor = visit("compare", plan="a1")
    for name, value in fields.items():
        visitor.at.text_area(key=name).set_value(value)
    visitor.click("compare_ask")
    assert any(says in each for each in visitor.errors())


def test_a_link_to_nothing_is_told(visit):
    assert any("no comparison with this name" in each for each in visit("compare", comparison="nothing").errors())


def test_nobody_sees_a_score_before_voting(compared):
    compared.open("compare", "Blind vote")
    asked = []
    while compared.has("vote_left"):
        text = compared.texts()
        assert "Strength" not in text and "preferred" not in text and "b0-2" not in _drawn(compared)
        asked.append(text)
        compared.click("vote_left")
    assert len(asked) == 6, "two prompts, three pairs"
    [*rows] = compared.table("preferred")
    assert [row["plan"] for row in rows] == ["a1", "b0-2"] and all(row["verdict"] == "too few votes to tell" for row in rows)
    made = comparison_of(compared.bench.comparisons, link(compared))
    assert len(compared.bench.votes.entries(lambda about: about["comparison"] == made.id)) == 6


def pairs(visitor):
    """What is voted on, as somebody else sees it."""
    made = comparison_of(visitor.bench.comparisons, link(visitor))
    answers = [find(visitor.bench.store, resolve(each, visitor.bench.known.identify)) for each in made.questions]
    return pairs_for("somebody else", made.id, [each.result.texts for each in answers])


def _drawn(visitor):
    """What stands beside the form: answers and buttons, without the caption on the comparison."""
    return "\n".join(each.value for each in visitor.at.text)


def test_who_sees_the_result_votes_no_more(compared):
    compared.open("compare", "Blind vote").click("vote_left").click("vote_seen")
    assert not compared.has("vote_left") and compared.table("preferred")
    assert json.dumps(compared.table("preferred"))


def test_votes_of_others_are_counted_and_end_nobody_else_s_vote(compared):
    pair = next(each for each in pairs(compared) if {each.left, each.right} == {0, 1})
    other = "right" if pair.right else "left"
    cast(compared.bench.votes, Vote(link(compared), *astuple(pair)[:3], other, "somebody else", texts=pair.texts))
    cast(compared.bench.votes, Vote(link(compared), *astuple(pair)[:3], SEEN, "somebody else"))
    compared.open("compare", "Blind vote")
    assert compared.has("vote_left")
    compared.click("vote_seen")
    assert compared.table("preferred")[0]["won"] == 1 and "1 votes by" not in compared.texts()


def test_a_vote_in_an_older_tab_after_the_result_is_not_counted(compared):
    """Two tabs of one person: one shows the result, the other still asks."""
    one, other = compared.open("compare", "Blind vote"), Visitor("compare", comparison=link(compared))
    other.open("compare", "Blind vote")
    one.click("vote_left").click("vote_seen")
    other.click("vote_right")
    assert "1 vote by 1 person" in other.texts() and len(other.bench.votes.entries()) == 3


def test_a_planted_vote_ends_no_page(compared):
    cast(compared.bench.votes, Vote(link(compared), 99, 0, 7, "left", "eve"))
    compared.open("compare", "Blind vote").click("vote_seen")
    assert "0 votes" in compared.texts()


def test_a_comparison_whose_text_was_forgotten_is_told(compared):
    """A plan that learns from a text of one's own cannot be asked any more; the page says so, and what is there is read."""
    compared.go("model").at.text_area(key="own_text").set_value("the capital of France is Paris. " * 60).run()
    compared.click("own_use")
    compared.go("compare").at.text_area(key="compare_plans").set_value("w:wanda@0.5").run()
    compared.click("compare_ask").wait()
    named = link(compared)
    compared.go("storage").click("forget_all").wait()
    other = Visitor("compare", comparison=named)
    assert any("not kept on this machine" in each for each in other.errors())


def test_files_hold_numbers_or_nothing(compared):
    """JSON has no NaN, and the dense model has no KL from itself."""
    made = comparison_of(compared.bench.comparisons, link(compared))
    answers = [find(compared.bench.store, resolve(each, compared.bench.known.identify)) for each in made.questions]
    rows = texts(made.names, [each.result for each in answers])
    assert [row["kl"] for row in rows[:2]] == [None, None] and all(row["kl"] > 0 for row in rows[2:])
    json.dumps(rows, allow_nan=False)
