"""What a newcomer meets: the menu in the order of the work, what a page is for, what comes next, how far a load is."""

import re

import pytest

from pages.flow.order import PARTS, PLACES
from tests.pages.visitor import APP, FILES, Visitor, unmarked

ASKING = [name for name, place in PLACES.items() if place.asks]
ELSEWHERE = {"storage"}  # what fills it is pressed on another page


def test_the_menu_has_every_page():
    assert {path.stem for path in (APP.parent / "pages").glob("*.py")} == set(PLACES)


def test_the_flow_leads_through_all_pages_and_ends():
    seen, here = [], "model"
    while here:
        seen.append(here)
        here = PLACES[here].then
    assert seen == ["model", "similarity", "scan", "drop_lab", "deviation", "compare", "decide", "storage"]
    assert seen == [name for name in PLACES if name in seen]  # the menu has the same order


@pytest.mark.parametrize("page", ASKING)
def test_a_page_without_an_answer_says_what_it_is_for(link, page):
    visitor = Visitor(page, **link)
    assert PLACES[page].asks in visitor.texts() and f"Press **{PLACES[page].press}**" in visitor.texts()
    assert PLACES[page].asks.count("? ") == 1 and PLACES[page].asks.count(". ") == 0  # two sentences
    pictures = [each for each in visitor.at.get("plotly_chart") if "thumbnail" in each.proto.id]
    tables = [each for each in visitor.at.markdown if each.value.startswith("| probe |")]
    assert pictures or tables or any('class="answer"' in each.proto.body for each in visitor.at.get("html"))


@pytest.mark.parametrize("page", sorted({*ASKING} - ELSEWHERE))
def test_what_it_says_to_press_is_there(visit, link, page):
    visitor = Visitor(page, **link) if page == "model" else visit(page, plan="a1")
    assert PLACES[page].press in [button.label for button in visitor.at.button]
    assert FILES[page].exists()


def test_what_comes_next_is_offered_with_the_answer_and_the_introduction_is_gone(visit):
    visitor = visit("similarity")
    assert not any(label.startswith("Next:") for label in visitor.links())
    visitor.click("ask_similarity").wait()
    assert any(label.startswith("Next: Drop scan") for label in visitor.links())
    assert PLACES["similarity"].asks not in visitor.texts()


@pytest.mark.parametrize("page", [name for name, place in PLACES.items() if place.then])
def test_every_page_with_its_answer_offers_the_next_one(answered, restart, page):
    data, link = answered
    restart(data)
    after = PLACES[PLACES[page].then].title
    assert [label for label in Visitor(page, **link).links() if label.startswith(f"Next: {after}")]


@pytest.mark.parametrize("page", ["model", "similarity"])
def test_a_page_shows_how_far_the_load_is(link, page, monkeypatch):
    from threading import Event

    from pages.shell import workbench

    gate, begun = Event(), Event()

    def slowly(ref, progress):
        progress(1, 4, "reading weights")
        begun.set()
        assert gate.wait(60)

    visitor = Visitor(page, **link)
    monkeypatch.setattr(workbench().executor, "load", slowly)
    visitor.click("load_main" if page == "model" else "load_here")
    assert begun.wait(60)
    visitor.look()
    try:
        assert [bar.proto.value for bar in visitor.at.main.get("progress")] == [25]
        assert "cancel_load_page" in [button.key for button in visitor.at.main.get("button")]
    finally:
        gate.set()
        visitor.wait()


def parts(visitor):
    """Each part of a page that says what it is for, opened."""
    yield "stability", visitor.go("decide")
    for tab in ("Plans", "Speed", "Tasks", "Export"):
        yield tab.lower(), visitor.open("decide", tab)


def test_a_part_without_an_answer_says_what_it_is_for_and_what_to_press(visit):
    visitor, seen, buttons = visit("similarity", plan="a1", windows=4, length=16), set(), set()
    pressed = {button.label for page in ("similarity", "drop_lab") for button in visitor.go(page).at.button}
    for part, page in parts(visitor):
        assert unmarked(PARTS[part]) in page.texts(), part
        assert PARTS[part].count("? ") == 1 and PARTS[part].rpartition("ress **")[0].count(". ") <= 2
        buttons |= {button.label for button in page.at.button}
        seen.add(part)
    assert seen == set(PARTS)
    named = {label for text in PARTS.values() for label in re.findall(r"\*\*(.+?)\*\*", text)}
    assert named <= buttons | pressed and len(named) == 6


def test_a_part_with_an_answer_says_it_no_more(visit):
    visitor = visit("drop_lab", plan="a1", windows=4, length=16).click("ask_fidelity").wait()
    assert PARTS["speed"] in visitor.texts()
    assert (
        PLACES["storage"].asks not in visitor.go("storage").texts()
        and PARTS["plans"] not in visitor.go("decide").open("decide", "Plans").texts()
    )
