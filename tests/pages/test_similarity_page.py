"""From nothing to a plan: load, measure, cancel, measure again, click layers away."""

from dataclasses import replace

import pytest

from plans.drops import dropped
from plans.operation import Shape
from plans.plan import parse
from probes import PROBES
from tests.pages.visitor import SECONDS, Visitor


@pytest.fixture
def measured(visit):
    """The similarity page with its answer there."""
    return visit("similarity").click("ask_similarity").wait()


def ranking(visitor):
    """The rows of its table, in another tab."""
    rows = visitor.open("similarity_view", "Ranking").table("cosine(update, stream)")
    visitor.open("similarity_view", "Importance")
    return rows


def test_load_run_cancel_run_cached(link, slow):
    visitor = Visitor("similarity", **link)
    assert "never been loaded here" in visitor.texts()
    visitor.click("load_here").wait()
    assert not visitor.figures() and visitor.has("ask_similarity")

    visitor.click("ask_similarity")
    assert slow.begun.wait(SECONDS)
    [bar] = visitor.look().at.get("progress")
    assert "window 1 of 4" in bar.proto.text and bar.proto.value == 25
    [cancel] = [each.key for each in visitor.at.button if each.label == "Cancel"]
    visitor.click(cancel)
    slow.gate.set()
    visitor.wait()
    assert "Cancelled. Nothing else was lost" in visitor.texts() and not visitor.figures()

    visitor.click("ask_similarity").wait()
    assert set(visitor.figures()) == {"importance"}
    assert "64 tokens in 2 windows · float32 on cpu" in visitor.texts()
    [entry] = visitor.answers

    other = Visitor("similarity", **link)
    assert "importance" in other.figures() and not other.has("ask_similarity")
    assert "computed in " in other.texts() and "just now" in other.texts()
    assert [job.label.split()[0] for job in other.bench.jobs.list()] == ["Load", "Layer"]
    assert other.answers[0].key == entry.key


def test_two_people_asking_the_same_watch_one_job(visit, slow):
    one, other = visit("similarity"), visit("similarity")
    one.click("ask_similarity")
    assert slow.begun.wait(SECONDS)
    other.look()
    assert not other.has("ask_similarity") and other.at.get("progress")
    slow.gate.set()
    assert one.wait().figures() and other.wait().figures()
    assert [job.label.split()[0] for job in one.bench.jobs.list()] == ["Load", "Layer"]


def test_a_failed_job_says_why_and_can_be_asked_again(visit, monkeypatch):
    visitor = visit("similarity")

    def full(*_, **more):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setitem(PROBES, "similarity", replace(PROBES["similarity"], run=full))
        visitor.look().click("ask_similarity").wait()
        assert ["not enough memory" in each for each in visitor.errors()] == [True]
    visitor.look().click("ask_similarity").wait()
    assert visitor.figures() and not visitor.errors()


def test_take_the_most_redundant_in_one_click(measured):
    result = measured.answers[0]
    assert result.about["question"]["probe"] == "similarity"
    order = [row["part"] for row in ranking(measured) if row["part"][0] == "a"]
    measured.at.number_input(key="take_count").set_value(2).run()
    measured.click("take")
    assert parse(measured.plan) == parse(",".join(order[:2]))
    assert "removes the attention of layers" in measured.texts()


def test_a_row_of_the_ranking_drops_its_part_and_puts_it_back(measured):
    first = ranking(measured)[0]["part"]
    measured.open("similarity_view", "Ranking")
    row = {"rows": [0], "columns": [], "cells": []}
    assert measured.select("ranking", **row).plan == first
    assert measured.select("ranking", rows=[], columns=[], cells=[]).select("ranking", **row).plan == ""


@pytest.mark.parametrize("chosen, letter", [("attention", "a"), ("MLP", "m"), ("block", "b")])
def test_take_of_each_kind(measured, chosen, letter):
    measured.at.selectbox(key="take_kind").select(chosen)
    measured.at.number_input(key="take_count").set_value(1).run()
    first = next(row["part"] for row in ranking(measured) if row["part"][0] == letter)
    assert measured.click("take").plan == first


def test_take_of_either_kind_and_all_of_it(measured):
    measured.at.selectbox(key="take_kind").select("attention or MLP")
    measured.at.number_input(key="take_count").set_value(8).run()
    assert measured.click("take").plan == "b0-3"


def test_take_adds_to_the_plan_that_is_there(measured):
    measured.at.text_input(key="plan").set_value("m0").run()
    measured.at.number_input(key="take_count").set_value(1).run()
    assert len(measured.click("take").plan.split(",")) == 2 and "m0" in measured.plan


def test_what_is_there_no_more_of_is_told_and_so_is_that_it_is_added(measured):
    labels = {button.key: button.label for button in measured.at.button}
    assert labels["take"] == "Drop the 4 most redundant attention layers"
    measured.at.number_input(key="take_count").set_value(8).run()
    measured.at.text_input(key="plan").set_value("m0").run()
    labels = {button.key: button.label for button in measured.whole().at.button}
    assert labels["take"] == "Also drop the 4 most redundant attention layers" and labels["take_span"].startswith("Also drop")
    assert "At most 4 can be dropped this way, not the 8 asked for." in measured.texts()
    measured.at.selectbox(key="take_kind").select("attention or MLP").run()
    assert "can be dropped this way" not in measured.whole().texts()


def test_take_the_best_span(measured):
    measured.at.number_input(key="span_length").set_value(2).run()
    measured.click("take_span")
    blocks = dropped(parse(measured.plan)).blocks
    assert len(blocks) == 2 and max(blocks) - min(blocks) == 1


@pytest.mark.parametrize("chart, item", [("importance", "a2"), ("importance", "b1"), ("states", "b1-2"), ("spans", "b0-1")])
def test_a_click_on_a_chart_drops_and_a_second_one_puts_back(measured, chart, item):
    measured.open("similarity_view", chart.capitalize())
    assert measured.point(chart, item).plan == item
    assert measured.point(chart, item).plan == ""


def test_clicks_add_up(measured):
    measured.point("importance", "a2").point("importance", "m0")
    measured.open("similarity_view", "States").point("states", "b1-2")
    assert measured.plan == "m0,b1-2"
    assert measured.open("similarity_view", "Importance").point("importance", "b2").plan == "m0,b1"


def test_a_click_beside_everything_changes_nothing(measured):
    measured.select("importance", points=[], point_indices=[], box=[], lasso=[])
    measured.select("importance", points=[{"x": 1}], point_indices=[1], box=[], lasso=[])
    assert measured.plan == ""


def test_what_is_clicked_is_what_the_charts_offer(measured):
    for name, count in (("importance", 12), ("states", 10), ("spans", 10)):
        charts = measured.open("similarity_view", name.capitalize()).figures()
        items = {row[0] for trace in charts[name]["data"] for row in trace.get("customdata", [])}
        assert len(items) == count, name
        for item in items:
            parse(item).checked(Shape(4))


@pytest.mark.parametrize(
    "name", ["angular distance, mean over tokens", "angular distance, last token (Gromov et al.)", "cosine"]
)
@pytest.mark.parametrize("without", [True, False])
def test_every_view_of_the_answer_can_be_drawn(measured, name, without):
    measured.at.toggle(key="without_first").set_value(without)
    measured.at.toggle(key="log").set_value(without)
    assert set(measured.look().figures()) == {"importance"}
    measured.open("similarity_view", "States").at.selectbox(key="measure").select(name)
    assert set(measured.look().figures()) == {"states"}
    assert set(measured.open("similarity_view", "Spans").figures()) == {"spans", "curve"}
    assert set(measured.open("similarity_view", "Contributions").figures()) == {"contributions"}
    assert len(ranking(measured)) == 12
    state = measured.open("similarity_view", "States").at.session_state
    assert (state["measure"], state["log"]) == (name, without), "a field of a tab that was closed forgot what it held"


def test_another_text_is_another_question(measured):
    measured.at.number_input(key="windows").set_value(1).run()
    assert measured.has("ask_similarity") and not measured.figures()
    measured.at.number_input(key="windows").set_value(2).run()
    assert measured.figures()
