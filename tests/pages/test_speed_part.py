"""Speed on the Drop lab page: asked, drawn, compared with other plans, found again by a link."""

import pytest

from probes.speed import machine

SMALL = {"speed_prompt": 16, "speed_new": 4}


@pytest.fixture
def lab(visit):
    return visit("drop_lab", plan="a1", **SMALL)


def test_a_plan_is_timed_and_drawn(lab):
    lab.click("ask_speed").wait()
    assert {"speed_rounds", "speed_memory"} <= set(lab.figures()) and "speed_ratios" not in lab.figures()
    [entry] = lab.answers
    assert entry.about["question"]["params"] == {"batch": 1, "prompt": 16, "new": 4, "rounds": 10}
    labels = [each.label for each in lab.at.metric]
    assert {"Prefill, times as fast", "Decode, times as fast", "Peak memory"} <= set(labels)
    assert "measured on a" in lab.texts()  # an otherwise idle machine, or a busy one
    assert "Only" not in lab.texts() and "Zeros are still multiplied" not in lab.texts()


def test_two_plans_are_compared_and_another_length_is_another_question(lab):
    lab.click("ask_speed").wait()
    lab.at.text_input(key="plan").set_value("w:magnitude@0.5").run()
    lab.click("ask_speed").wait()
    assert "Zeros are still multiplied" in lab.texts()
    assert {row["plan"] for row in lab.table("measured")} == {"a1", "w:magnitude@0.5"}
    assert len(lab.figures()["speed_ratios"]["data"][0]["x"]) == 2
    lab.at.number_input(key="speed_new").set_value(5).run()
    assert lab.has("ask_speed") and "speed_ratios" not in lab.whole().figures()


def test_what_another_machine_measured_is_not_shown_as_this_ones(lab, monkeypatch):
    lab.click("ask_speed").wait()
    monkeypatch.setattr(machine.platform, "node", lambda: "elsewhere")
    assert lab.look().has("ask_speed") and "speed_rounds" not in lab.figures()


def test_a_prompt_that_is_too_long_is_a_sentence(visit):
    lab = visit("drop_lab", plan="a1", speed_prompt=120, speed_new=9).click("ask_speed").wait()
    assert any("reads at most 128" in each for each in lab.errors())


def test_without_a_plan_there_is_nothing_to_time(visit):
    lab = visit("drop_lab", **SMALL)
    assert not lab.has("ask_speed") and "compare its speed" in lab.texts()
