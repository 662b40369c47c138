"""The report in a browser without any network: every chart is drawn, and nothing is asked of anybody."""

import pytest
from playwright.sync_api import expect

from charts.report.figures import PARTS
from probes.__main__ import main

TEXT = "The capital of France is Paris, and the capital of the arts. " * 9
ITEM = '{"question": "1 + 1 =", "options": ["2", "3"], "answer": 0}'
WORDS = {"generation_drift": ["--length", "3", "--prompts", "One two"], "choice_subspace": ["--items", ITEM]}
WORDS["speed"] = ["--prompt", "8", "--new", "2", "--rounds", "5"]
WORDS["search"] = ["--windows", "4", "--points", "1", "--draws", "1", "--strategies", "kl,random"]
WORDS |= {"stability": ["--windows", "4", "--other", ""], "evaluate": ["--limit", "3"]}


@pytest.fixture
def file(tiny_folder, monkeypatch, tmp_path):
    """A report on every probe."""
    monkeypatch.setenv("PRUNESCOPE_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prose.txt").write_text(TEXT)
    model = ["--model", str(tiny_folder), "--plan", "a1,m2"]
    for probe in (*PARTS, "anatomy", "cost"):
        text = ["--corpus", "prose.txt", "--windows", "2", *(["--length", "16"] if probe != "generation_drift" else [])]
        assert main([probe, *model, *text, *WORDS.get(probe, [])]) == 0
    assert main(["report", "--html", "report.html", *model]) == 0
    return tmp_path / "report.html"


def test_every_chart_is_drawn_offline(browser, file):
    context, said, requests = browser.new_context(viewport={"width": 1280, "height": 900}), [], []
    context.set_offline(True)
    page = context.new_page()
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(file.as_uri())
    charts = page.locator(".js-plotly-plot")
    assert charts.count() == page.locator(".plotly-graph-div").count() >= len(PARTS) + 8
    for place in range(charts.count()):
        expect(charts.nth(place).locator(".main-svg").first).to_be_visible()
    drawn = page.evaluate("[...document.querySelectorAll('.js-plotly-plot')].map(each => each.calcdata.length)")
    assert min(drawn) > 0
    marks = "[...document.querySelectorAll('.js-plotly-plot')].map(each => each.querySelectorAll('.trace, .hm').length)"
    assert min(page.evaluate(marks)) > 0
    assert said == [] and [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    context.close()
