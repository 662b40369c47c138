"""The strip of layers under a mouse and under a keyboard."""

import json
import re
import shutil

import pytest

pytest.importorskip("playwright", reason="Playwright drives the browser: install it with `make test`.")
from playwright.sync_api import expect
from transformers import AutoModelForCausalLM, LlamaConfig

from tests.browser.test_app import SMALL, load, plan_of, settled


@pytest.fixture
def lab(open_page):
    page = open_page(f"drop_lab?{SMALL}")
    load(page)
    expect(page.get_by_role("grid").get_by_role("gridcell")).to_have_count(90)
    return page


def cell(page, part, layer):
    return page.get_by_role("button", name=re.compile(f"^{part} {layer}, "))


def middle(page, part, layer):
    box = cell(page, part, layer).bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def becomes(page, plan):
    """The plan in the sidebar, and no click that was undone by an older answer."""
    expect(plan_of(page)).to_have_value(plan)
    settled(page)
    expect(plan_of(page)).to_have_value(plan)


def test_by_mouse(lab):
    figure = lab.get_by_test_id("stMetric").filter(has_text="KV cache per token").get_by_test_id("stMetricValue")
    whole = figure.text_content()
    cell(lab, "attention", 3).click()
    becomes(lab, "a3")
    expect(cell(lab, "attention", 3)).to_have_attribute("aria-pressed", "true")
    expect(cell(lab, "block", 3)).to_have_attribute("aria-pressed", "mixed")
    expect(figure).not_to_have_text(whole)

    lab.mouse.move(*middle(lab, "attention", 5))
    lab.mouse.down()
    lab.mouse.move(*middle(lab, "attention", 7))
    lab.mouse.move(*middle(lab, "MLP", 8))  # a drag stays in its row
    lab.mouse.up()
    becomes(lab, "a3,a5,a6,a7,a8")
    cell(lab, "attention", 10).click(modifiers=["Shift"])
    becomes(lab, "a3,a5,a6,a7,a8,a9,a10")

    cell(lab, "MLP", 20).dblclick()
    becomes(lab, "a3,a5,a6,a7,a8,a9,a10,b20")
    cell(lab, "attention", 20).click()  # what a block took along is put back by itself
    becomes(lab, "a3,a5,a6,a7,a8,a9,a10,m20")
    cell(lab, "attention", 3).click()
    for layer in (5, 6, 7):  # faster than the page answers
        cell(lab, "attention", layer).click(no_wait_after=True)
    becomes(lab, "a8,a9,a10,m20")


def test_by_keyboard(lab):
    first = cell(lab, "attention", 0)
    expect(lab.get_by_role("grid").locator("button[tabindex='0']")).to_have_count(1)
    first.focus()
    for key in ("ArrowRight", "ArrowRight", "Space"):
        lab.keyboard.press(key)
    becomes(lab, "a2")
    expect(cell(lab, "attention", 2)).to_be_focused()
    for key in ("Shift+ArrowRight", "Shift+ArrowRight"):
        lab.keyboard.press(key)
    becomes(lab, "a2,a3,a4")
    for key in ("ArrowDown", "ArrowDown", "End", "Enter"):
        lab.keyboard.press(key)
    becomes(lab, "a2,a3,a4,b29")
    expect(cell(lab, "block", 29)).to_be_focused()
    for key in ("Home", "ArrowUp", "Space"):
        lab.keyboard.press(key)
    becomes(lab, "a2,a3,a4,m0,b29")
    expect(lab.get_by_role("grid").locator("button[tabindex='0']")).to_have_count(1)


def test_a_form_that_was_closed_says_nothing_any_more(open_page):
    page = open_page(f"drop_lab?{SMALL}&plan=w:wanda@0.5")
    load(page)
    page.locator(".st-key-open_weights button").first.click()
    page.get_by_role("combobox", name="Share or N:M").first.click()
    page.get_by_role("option", name="2:4").click()
    becomes(page, "w:wanda@2:4")
    expect(page.get_by_test_id("stPopoverBody")).to_be_visible()  # it stays open while its plan changes
    page.keyboard.press("Escape")
    page.locator(".st-key-away_weights button:visible").click()
    becomes(page, "")
    cell(page, "MLP", 3).click()
    becomes(page, "m3")


def test_a_finger_taps_and_scrolls(open_page):
    page = open_page(f"drop_lab?{SMALL}&plan=b12-15", width=420, height=900, theme="dark")
    load(page)
    expect(cell(page, "attention", 12)).to_have_attribute("aria-pressed", "true")
    tops = {round(cell(page, "attention", layer).bounding_box()["y"]) for layer in (0, 15, 29)}
    assert len(tops) == 1, "the row is wrapped"
    box = cell(page, "attention", 0).bounding_box()
    assert box["width"] >= 20 and box["height"] >= 24
    wide = page.get_by_role("grid").evaluate("grid => [grid.scrollWidth, grid.clientWidth, document.body.scrollWidth]")
    assert wide[0] > wide[1] and wide[2] <= 420, "the strip scrolls, and the page does not"


@pytest.fixture(scope="module")
def deepest(tiny_folder, tmp_path_factory):
    """A model of 126 layers, as the largest Llama has."""
    folder = shutil.copytree(tiny_folder, tmp_path_factory.mktemp("deepest") / "model")
    config = json.loads((folder / "config.json").read_text()) | {"num_hidden_layers": 126}
    AutoModelForCausalLM.from_config(LlamaConfig(**config)).save_pretrained(folder)
    return folder


def test_126_layers_stand_in_one_row(open_page, deepest):
    page = open_page(f"drop_lab?model={deepest}&windows=2&length=32&device=cpu")
    load(page)
    expect(page.get_by_role("grid").get_by_role("gridcell")).to_have_count(3 * 126)
    for width in (1440, 420):
        page.set_viewport_size({"width": width, "height": 1000})
        cell(page, "attention", 125).scroll_into_view_if_needed()
        assert len({round(cell(page, "attention", layer).bounding_box()["y"]) for layer in (0, 60, 125)}) == 1
        assert cell(page, "attention", 125).bounding_box()["width"] >= 20
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    cell(page, "attention", 125).click()
    becomes(page, "a125")
