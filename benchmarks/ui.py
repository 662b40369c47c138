"""How fast the app feels in Chromium, on the bundled model: medians of what a person waits for (``make bench-ui``).

Prints a Markdown table for docs/performance.md, with the load of the machine; exit code 1 where a target is missed.
"""

import argparse
import math
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.server import serving

_LINK = "windows=2&length=128&dtype=float32&device=cpu&plan=a25&drift_steps=8"
_WAIT = 120_000  # ms that anything may take
# Notes when the next press comes, and when something is seen.
_BEGIN = """seen => {
    addEventListener("pointerdown", () => { window.begun = performance.now() }, { capture: true, once: true });
    const holds = new Function(`return Boolean(${seen})`);
    window.ended = new Promise(done => {
        const look = () => holds() ? done(performance.now()) : requestAnimationFrame(look);
        requestAnimationFrame(look);
    });
}"""
_LOOK = 500  # ms that a person looks at figures before the next click
# What a person waits for, and the seconds that it may take; infinite: no target.
TARGETS = {
    "first paint": 1.0,
    "first page of a new visitor, until its heading": math.inf,
    "page change, with results": 0.4,
    "toggle in the strip, until new figures": 0.2,
    "first streamed token": 1.0,
}


@dataclass(frozen=True)
class Shown:
    """A page with results: its file, keys of the buttons that ask for them, and the chart that is seen once they are drawn."""

    file: str
    asks: tuple[str, ...]
    chart: str


# In the order in which they are opened; the last one is where a round begins.
_PAGES = {
    "Model": Shown("", (), "sizes"),
    "Key rank": Shown("key_rank", ("ask_key_rank",), "heads"),
    "Drop lab": Shown("drop_lab", ("ask_fidelity",), "tried"),
    "Deviation": Shown("deviation", ("ask_transitions", "ask_generation_drift"), "depth"),
    "Similarity": Shown("similarity", ("ask_similarity",), "importance"),
}
# A token of an answer that is being written; before there is one, the page shows a small answer as a sample.
_TOKEN = "[...document.querySelectorAll('.answer span')].some(each => !each.closest('[class*=st-key-introduction]'))"
# The first figure of a plan: its parameters.
_FIGURE = "document.querySelector('[data-testid=stMetricValue]').textContent"


def seconds(page, click: Callable[[], None], seen: str) -> float:
    """From the press of a click until the picture in which ``seen``, an expression of JavaScript, holds.

    By the page's own clock: what Playwright does before it clicks is not part of it.
    """
    page.evaluate(_BEGIN, seen)
    click()
    return page.evaluate("ended.then(at => at - begun)") / 1e3


def first_paint(browser, address: str) -> tuple[float, float]:
    """Seconds until a new visitor sees something, as the browser tells it, and until the page has its heading."""
    context = browser.new_context()
    page = context.new_page()
    begun = time.perf_counter()
    page.goto(f"{address}/?{_LINK}", wait_until="commit")
    page.get_by_role("heading", level=1).wait_for(timeout=_WAIT)
    drawn = time.perf_counter() - begun
    painted = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    context.close()
    return painted / 1e3, drawn


def prepared(page, address: str) -> None:
    """Load the model and ask what the pages will show."""
    page.set_default_timeout(_WAIT)
    page.goto(f"{address}/similarity?{_LINK}")
    page.locator(".st-key-load button").click()
    page.get_by_text(re.compile(r"is in memory · \d+ layers")).wait_for()
    for shown in _PAGES.values():
        page.goto(f"{address}/{shown.file}?{_LINK}")
        for ask in shown.asks:
            page.locator(f".st-key-{ask} button").click()
            page.locator(f".st-key-{ask}").wait_for(state="detached")
        page.locator(_drawn(shown)).wait_for()


def _drawn(shown: Shown) -> str:
    return f".st-key-{shown.chart} .js-plotly-plot"


def page_changes(page) -> list[float]:
    """Seconds from a click on the menu until the chart of the page is drawn."""
    times = []
    for name, shown in _PAGES.items():
        _rest(page)
        link = page.get_by_test_id("stSidebarNavItems").get_by_role("link", name=name, exact=True)
        times.append(seconds(page, link.click, f"document.querySelector('{_drawn(shown)}')"))
    return times


def _rest(page) -> None:
    """Until the page is drawn, and somebody has looked at it."""
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
    page.wait_for_timeout(_LOOK)


def toggle(page) -> float:
    """Seconds from a click on a cell of the strip until the figures of the plan are other ones."""
    _rest(page)
    page.evaluate(f"window.before = {_FIGURE}")
    return seconds(page, page.get_by_role("button", name=re.compile("^attention 3, ")).click, f"{_FIGURE} !== before")


def first_token(page) -> float:
    """Seconds from a click on Answer until the first token stands there; then the answers are stopped."""
    _rest(page)
    once = seconds(page, page.locator(".st-key-answer button").click, _TOKEN)
    page.locator(".st-key-stop button").click()
    page.get_by_text("Every step as a table").wait_for()
    return once


def measured(address: str, rounds: int, chromium: str) -> dict[str, list[float]]:
    """Seconds of each of `TARGETS`, round by round; a round before these is thrown away."""
    from playwright.sync_api import sync_playwright

    found: dict[str, list[float]] = {name: [] for name in TARGETS}
    paint, drawn, change, switch, token = TARGETS
    with sync_playwright() as player:
        browser = player.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        prepared(page, address)
        for _ in range(rounds + 1):
            for name, took in zip((paint, drawn), first_paint(browser, address), strict=True):
                found[name].append(took)
            found[change] += page_changes(page)
        page.goto(f"{address}/drop_lab?{_LINK}&answer_length=400")
        page.get_by_role("grid").wait_for()
        for _ in range(rounds + 1):
            found[switch].append(toggle(page))
        for _ in range(rounds + 1):
            found[token].append(_fresh(page))
        browser.close()
    return {name: times[len(times) - rounds * len(times) // (rounds + 1) :] for name, times in found.items()}


def _fresh(page) -> float:
    """`first_token` on a page without the last answers, which would be taken for new ones."""
    page.reload()
    page.get_by_role("grid").wait_for()
    return first_token(page)


def table(found: dict[str, list[float]]) -> str:
    """Medians, ranges and targets as Markdown."""
    rows = [
        f"| {name} | {median(times):.2f} s | {min(times):.2f}–{max(times):.2f} s | {_target(name)} |"
        for name, times in found.items()
    ]
    load = f"Load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores."
    return "\n".join(["| what | median | range | target |", "|---|---|---|---|", *rows, "", load])


def _target(name: str) -> str:
    return f"{TARGETS[name]:g} s" if math.isfinite(TARGETS[name]) else "–"


def main() -> int:
    """Run it, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("There is no Chromium here: install it with `apt install chromium`.")
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder) / "server") as server:
        found = measured(server.address, options.rounds, chromium)
    print(table(found))
    return int(any(median(times) > TARGETS[name] for name, times in found.items()))


if __name__ == "__main__":
    sys.exit(main())
