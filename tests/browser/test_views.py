"""Every page: no word is cut or broken and nothing overlaps at four widths, and axe finds no barrier in either theme."""

from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="Playwright drives the browser: install it with `make test`.")
pytest.importorskip("axe_playwright_python", reason="axe looks at pages: install it with `make test`.")
from axe_playwright_python.base import AXE_SCRIPT

from tests.browser.views import VIEWS, visit

WIDTHS = (2200, 1400, 800, 420)
LOOKS = Path(__file__).with_name("looks.js")
# The rules of WCAG 2.2 A and AA and of good practice whose breach is serious or critical, and the order of headings; or those
# of colours alone.
BARRIERS = """async colours => {
    const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
    const grave = rule => ["serious", "critical"].includes(rule.impact) && rule.tags.some(tag => tags.includes(tag));
    const all = axe._audit.rules.filter(rule => grave(rule) || rule.id === "heading-order");
    const values = all.filter(rule => !colours || rule.tags.includes("cat.color")).map(rule => rule.id);
    const found = await axe.run({ runOnly: { type: "rule", values }, resultTypes: ["violations"] });
    return found.violations.flatMap(each => each.nodes.map(node => `${each.id}: ${node.target} ${node.failureSummary}`));
}"""
# A colour on its way from one theme to the other is nobody's choice.
THEMED = "theme => getComputedStyle(document.querySelector('[data-testid=stApp]')).colorScheme === theme"
FADED = """() => Promise.all(document.getAnimations()
    .filter(each => each.effect.getComputedTiming().endTime !== Infinity).map(each => each.finished.catch(() => null)))"""


@pytest.fixture(scope="module")
def window(browser):
    context = browser.new_context()
    context.add_init_script(path=LOOKS)
    context.add_init_script(AXE_SCRIPT)
    yield context.new_page()
    context.close()


@pytest.fixture(scope="module", params=VIEWS)
def view(window, answered, request):
    """A page with its answer, opened once for all that is looked at."""
    window.emulate_media(color_scheme="light")
    window.set_viewport_size({"width": WIDTHS[0], "height": 1000})
    return visit(window, answered, request.param)


def test_nothing_bars_the_way_in_either_theme(view):
    found = {}
    for theme in ("light", "dark"):  # what is not a colour is the same in both
        view.emulate_media(color_scheme=theme)
        view.wait_for_function(THEMED, arg=theme)
        view.evaluate(FADED)
        found[theme] = view.evaluate(BARRIERS, theme == "dark")
    assert found == {"light": [], "dark": []}


def test_nothing_is_cut_and_nothing_overlaps(view):
    wrong = {}
    view.emulate_media(color_scheme="light")
    for width in WIDTHS:
        view.set_viewport_size({"width": width, "height": 1000})
        view.evaluate("looks.still()")
        wrong[width] = view.evaluate("looks.page()")
    assert not any(wrong.values()), wrong
