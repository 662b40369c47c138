"""Compare by keyboard: from prompt to prompt, and through the blind vote."""

import re

import pytest

pytest.importorskip("playwright", reason="Playwright drives the browser: install it with `make test`.")
from playwright.sync_api import expect

from tests.browser.test_app import settled


def test_answers_are_read_and_voted_on_by_keyboard(open_page, tiny_folder):
    page = open_page(f"?model={tiny_folder}&device=cpu")
    page.get_by_role("button", name=re.compile("^Load ")).first.click()
    expect(page.get_by_text(re.compile(r"is in memory · \d+ layers")).first).to_be_visible()
    page.get_by_test_id("stSidebarNavItems").get_by_role("link", name="Compare", exact=True).click()
    for field, words in (("Prompts, one per line", "The capital\nOne, two"), ("Plans, one per line", "b0-2")):
        page.get_by_role("textbox", name=field).fill(words)
        page.get_by_role("textbox", name=field).press("Control+Enter")
        settled(page)
    page.get_by_role("button", name="Compare", exact=True).click()
    following = page.locator(".st-key-compare_next button")
    expect(following).to_be_enabled()
    settled(page).locator(".answer").first.click()  # keys go to the page, not to a field
    page.keyboard.press("ArrowRight")
    expect(following).to_be_disabled()
    page.get_by_role("tab", name="Blind vote").click()
    expect(page.get_by_text("0 of 2 pairs voted on")).to_be_visible()
    for key, told in (("ArrowLeft", "1 of 2 pairs voted on"), ("ArrowDown", "2 votes by 1 person")):
        settled(page).get_by_role("heading", name="Compare", level=1).click()
        page.keyboard.press(key)
        expect(page.get_by_text(told)).to_be_visible()
