"""The drop scan: ask, click a point away, look at the scores and skip effects, scan on top of a plan."""

import pytest

from tests.pages.visitor import Visitor


@pytest.fixture
def scanned(visit):
    """The page with its answer there."""
    return visit("scan").click("ask_drop_scan").wait()


def skips(visitor):
    """The page with another tab open."""
    return visitor.open("scan_view", "Skip effects")


def test_a_click_scans_and_draws(scanned):
    assert set(scanned.figures()) == {"damage"} and "64 tokens in 2 windows" in scanned.texts()
    assert set(skips(scanned).figures()) == {"skips"} and "Depth score" in scanned.texts()
    rows = scanned.open("scan_view", "Cheap scores").table("Spearman ρ")
    assert len(rows) == 20 and all(-1 <= row["Spearman ρ"] <= 1 and row["drops"] in (4, 8) for row in rows)
    assert any("by KL" in row["ranks furthest apart"] for row in rows)


def test_a_point_and_a_cell_drop_what_they_stand_for(scanned):
    assert scanned.point("damage", "m2").plan == "m2"
    assert scanned.figures(), "the scan began with the dense model, so another plan changes no question"
    assert skips(scanned).point("skips", "b1").plan == "m2,b1"
    assert scanned.open("scan_view", "Cost of each drop").point("damage", "m2").plan == "b1"


def test_other_measures_are_a_matter_of_looking(scanned):
    for measure in ("loss", "agreement"):
        scanned.at.selectbox(key="scan_measure").set_value(measure).run()
        assert scanned.whole().figures()["damage"]["layout"]["yaxis"].get("type") != "log"
    skips(scanned).at.selectbox(key="skip_mode").set_value("tokens that skip").run()
    assert "skips" in scanned.whole().figures() and not scanned.has("ask_drop_scan")


def test_a_scan_on_top_of_a_plan_is_another_question_and_a_link(scanned, link):
    scanned.at.text_input(key="plan").set_value("a1").run()
    scanned.click("scan_take")
    assert scanned.at.session_state["scan_base"] == "a1" and scanned.has("ask_drop_scan")
    scanned.click("ask_drop_scan").wait()
    items = [row[0] for trace in scanned.figures()["damage"]["data"] for row in trace.get("customdata", [])]
    assert "a0" in items and not {"a1", "b1"} & set(items)
    assert Visitor("scan", **link, scan_base="a1").figures()


@pytest.mark.parametrize(
    "base, says", [("a1,x9", "'x9' is not part of a plan"), ("b9", "layer 9"), ("b0-3", "nothing is left")]
)
def test_a_plan_that_cannot_be_scanned_is_told(visit, base, says):
    visitor = visit("scan", scan_base=base)
    if visitor.has("ask_drop_scan"):
        visitor.click("ask_drop_scan").wait()
    assert any(says in each for each in visitor.errors()) and not visitor.figures()


def test_windows_too_short_for_a_future_are_told(visit):
    visitor = visit("scan", length=3).click("ask_drop_scan").wait()
    assert "damage" in visitor.figures()
    assert not skips(visitor).figures() and "too short" in visitor.texts()
