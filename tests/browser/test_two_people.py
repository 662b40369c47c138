"""Two people on one server, each with a model of their own."""

import re
from urllib.parse import quote

import pytest

pytest.importorskip("playwright", reason="Playwright drives the browser: install it with `make test`.")
from playwright.sync_api import expect

from tests.browser.test_app import LONG, SMALL, load, settled


def test_each_sees_their_own_model(open_page, tiny_folder):
    """Both load and measure at the same time; neither takes the other's model away or sees its numbers."""
    theirs = f"model={quote(str(tiny_folder), safe='')}&windows=2&length=64&dtype=float32&device=cpu"
    ada, ben = open_page(f"similarity?{SMALL}"), open_page(f"similarity?{theirs}")
    for person in (ada, ben):
        load(person)
    for person in (ada, ben):  # both ask before either looks for an answer
        ask, chart = person.get_by_role("button", name="Measure similarity"), person.locator(".st-key-importance")
        expect(ask.or_(chart).first).to_be_visible()
        if ask.count():
            ask.click()
    for person, layers in ((ada, 30), (ben, 4)):
        chart = person.locator(".st-key-importance .js-plotly-plot")
        expect(chart).to_be_visible(timeout=LONG)
        settled(person)
        last = chart.evaluate("chart => Math.max(...chart.data.flatMap(trace => [...trace.x]).filter(Number.isInteger))")
        assert last == layers - 1
        expect(person.get_by_text(re.compile(rf"is in memory · {layers} layers"))).to_be_visible()
    storage = open_page(f"storage?{SMALL}")
    settled(storage)
    for name in ("bundled", str(tiny_folder)):
        expect(storage.get_by_role("main").get_by_text(name, exact=True).first).to_be_visible()
    ada.reload()
    expect(ada.locator(".st-key-importance .js-plotly-plot")).to_be_visible(timeout=LONG)
    expect(ada.get_by_text(re.compile(r"is in memory · 30 layers"))).to_be_visible()
