"""Charts of models of 12 and 126 layers, on a phone and on a desk: labels do not touch, the mouse reads what lies under it."""

import pytest

pytest.importorskip("playwright", reason="Playwright drives the browser: install it with `make test`.")

from charts.report import page as report
from tests.browser.test_views import LOOKS
from tests.charts.test_saved import figures

SIZES = ((420, 12), (2200, 12), (420, 126), (1400, 126))  # pixels and layers
MAPS = ("states", "spans", "skips", "heads")
# Where point number `share` × all of a chart is, with its place in the window; of a map a little off the middle of its cell.
POINT = """([name, share, off]) => {
    const chart = document.querySelector(`#${name} .js-plotly-plot`);
    const trace = chart._fullData.find(each => each.hoverinfo !== "skip" && each.customdata);
    const at = Math.floor(share * trace.x.length), x = chart._fullLayout[trace.xaxis.replace("x", "xaxis")];
    const y = chart._fullLayout[trace.yaxis.replace("y", "yaxis")];
    chart.scrollIntoView({ block: "center" });
    chart.removeAllListeners("plotly_hover");
    chart.on("plotly_hover", event => { window.hovered = event.points.map(each => JSON.stringify(each.customdata)) });
    window.hovered = [];
    const { left, top } = chart.getBoundingClientRect();
    const across = left + x._offset + x.d2p(trace.x[at] + off), down = top + y._offset + y.d2p(trace.y[at] + off);
    return [across, down, JSON.stringify(trace.customdata[at])];
}"""


@pytest.fixture(scope="module", params=SIZES)
def deep(request, browser, tmp_path_factory):
    width, layers = request.param
    file = tmp_path_factory.mktemp("deep") / "charts.html"
    drawn = [
        f'<section id="{name.replace(" ", "-")}">{report.figure(each)}</section>' for name, each in figures(layers).items()
    ]
    file.write_text(report.document(f"{layers} layers", drawn))
    context = browser.new_context(viewport={"width": width, "height": 1300})
    context.add_init_script(path=LOOKS)
    page = context.new_page()
    page.goto(file.as_uri())
    page.wait_for_function("[...document.querySelectorAll('.plotly-graph-div')].every(each => each.querySelector('.main-svg'))")
    page.evaluate("looks.still()")
    yield page
    context.close()


def test_labels_do_not_touch(deep):
    assert deep.evaluate("looks.charts()") == []
    assert deep.evaluate("document.documentElement.scrollWidth") <= deep.viewport_size["width"]


@pytest.mark.parametrize("name", [*MAPS, "importance"])
def test_the_mouse_reads_what_lies_under_it(deep, name):
    for share in (0.02, 0.37, 0.7, 0.99):
        x, y, said = deep.evaluate(POINT, [name, share, 0.2 if name in MAPS else 0])
        deep.mouse.move(x - 1, y)
        deep.mouse.move(x, y)
        deep.wait_for_function("said => window.hovered.includes(said)", arg=said, timeout=5_000)
