"""Every page in both themes under axe: no finding that keeps somebody from reading or using it."""

import pytest

pytest.importorskip("playwright", reason="Playwright drives the browser: install it with `make test`.")
pytest.importorskip("axe_playwright_python", reason="axe looks at pages: install it with `make test`.")
from axe_playwright_python.base import AXE_SCRIPT

from tests.browser.views import VIEWS, visit

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
def reader(browser):
    context = browser.new_context(viewport={"width": 1400, "height": 1000}, color_scheme="light")
    context.add_init_script(AXE_SCRIPT)
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("view", VIEWS)
def test_nothing_bars_the_way_in_either_theme(reader, answered, view):
    reader.emulate_media(color_scheme="light")
    visit(reader, answered, view)
    found = {}
    for theme in ("light", "dark"):  # what is not a colour is the same in both
        reader.emulate_media(color_scheme=theme)
        reader.wait_for_function(THEMED, arg=theme)
        reader.evaluate(FADED)
        found[theme] = reader.evaluate(BARRIERS, theme == "dark")
    assert found == {"light": [], "dark": []}
