"""Decide: ask under a budget, look at the front, click a point, and it is the plan."""

import pytest

from plans.plan import parse

SMALL = {"search_points": 2, "search_share": 25.0, "search_draws": 2, "search_generations": 1, "search_offspring": 4}


@pytest.fixture
def searched(visit):
    """The page with its answer there."""
    return visit("decide", windows=4, length=16, **SMALL).click("ask_search").wait()


def points(visitor):
    return [point[0] for trace in visitor.figures()["front"]["data"] for point in trace.get("customdata", [])]


def test_a_click_searches_and_a_point_becomes_the_plan(searched):
    found = points(searched)
    assert len(found) == 2 * (10 + 2), "two budgets: ten strategies and two random plans"
    searched.point("front", found[0])
    assert parse(searched.plan) == parse(found[0])
    assert "front" in searched.figures(), "the plan in the sidebar is not where the search began"


def test_the_budget_moves_through_the_front_without_a_question(searched):
    shares = searched.at.select_slider(key="search_budget")
    at_most = searched.texts()
    shares.set_value(0.125).run()
    assert not searched.has("ask_search") and searched.texts() != at_most
    searched.click("search_use")
    assert searched.plan in points(searched)


def test_plans_are_told_apart_from_six_judging_windows_on(searched, visit):
    assert "With 2 held-out windows no plan can be told from another: measure on 11 windows or more." in searched.texts()
    enough = visit("decide", windows=11, length=16, **SMALL).click("ask_search").wait()
    assert "told from another" not in enough.texts() and "differ significantly" in enough.texts().replace("differs", "differ")


def test_every_plan_and_what_was_spent_is_listed(searched):
    count = len(points(searched))
    rows = searched.open("search_view", "Plans found").table("KL when chosen")
    assert len(rows) == count and any(row["front"] for row in rows)
    assert all(row["from"] <= row["KL"] <= row["to"] for row in rows)
    searched.open("search_view", "Effort")
    assert {row["strategy"] for row in searched.table("passes")} >= {"greedy + swaps", "random"}


def test_a_search_on_top_of_a_plan_is_another_question(searched):
    searched.at.text_input(key="plan").set_value("m2").run()
    searched.click("search_take")
    assert searched.has("ask_search")
    searched.click("ask_search").wait()
    assert all(parse(plan) | parse("m2") == parse(plan) for plan in points(searched))


@pytest.mark.parametrize(
    "given, says",
    [
        ({"search_base": "x9"}, "'x9' is not part of a plan"),
        ({"search_base": "w:wanda@0.5"}, "have to learn from a text"),
        ({"windows": 2}, "2 windows, too few"),
        ({"search_share": 95.0, "search_unit": "parameters"}, "The budget cannot be met"),
    ],
)
def test_what_cannot_be_searched_is_told(visit, given, says):
    visitor = visit("decide", **{"windows": 4, "length": 16, **SMALL, **given})
    if visitor.has("ask_search"):
        visitor.click("ask_search").wait()
    assert any(says in each for each in visitor.errors()) and not visitor.figures()


def test_no_strategy_is_told(visit):
    visitor = visit("decide", windows=4, length=16, **SMALL)
    visitor.at.multiselect(key="search_strategies").set_value([]).run()
    assert any("There is no strategy" in each for each in visitor.errors())
