"""Every page at three widths: no word is cut or broken, nothing overlaps, and the page does not scroll sideways."""

from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="Playwright drives the browser: install it with `make test`.")

from tests.browser.views import VIEWS, visit

WIDTHS = (1400, 800, 420)
LOOKS = Path(__file__).with_name("looks.js")


@pytest.fixture(scope="module")
def visitor(browser):
    context = browser.new_context(color_scheme="light")
    context.add_init_script(path=LOOKS)
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("view", VIEWS)
def test_nothing_is_cut_and_nothing_overlaps(visitor, answered, view):
    wrong = {}
    visitor.set_viewport_size({"width": WIDTHS[0], "height": 1000})
    visit(visitor, answered, view)
    for width in WIDTHS:
        visitor.set_viewport_size({"width": width, "height": 1000})
        visitor.evaluate("looks.still()")
        wrong[width] = visitor.evaluate("looks.page()")
    assert not any(wrong.values()), wrong
