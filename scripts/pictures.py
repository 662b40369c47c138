"""Take the pictures of README.md from the running app (``make pictures``).

    python -m scripts.pictures [--data FOLDER] [NAME …]

Each is a page at a link, on the bundled model, after the buttons that it needs. Answers are kept in a data directory of its
own, so that the second run takes a minute.
"""

import argparse
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

from benchmarks.server import ROOT, serving

_WAIT = 900_000  # ms that an answer may take
_PLAN = "a25,a26,a28,a29"
_TEXT = "windows=4&length=256"
_LOADED = re.compile(r"is in memory ·")  # in the sidebar; pages say "when the model is in memory"


@dataclass(frozen=True)
class Picture:
    """A page, the buttons whose answers it shows, what to click then, and pixels of its window."""

    link: str
    asks: tuple[str, ...] = ()
    click: str = ""
    wait: str = ""
    width: int = 1360
    height: int = 1000


PICTURES = {
    "screenshot": Picture(f"drop_lab?plan={_PLAN}&{_TEXT}", click="Answer", wait="Every step as a table", height=1180),
    "similarity": Picture(f"similarity?plan={_PLAN}&{_TEXT}", ("Measure similarity",), height=960),
    "key_rank": Picture(f"key_rank?{_TEXT}", ("Measure key rank",), height=1400),
    "deviation": Picture(
        f"deviation?plan={_PLAN}&plan2=m16,m17&{_TEXT}&drift_steps=16",
        ("Measure the layers", "Measure the steps", "Measure the choices"), height=1700,
    ),
    "drop_lab": Picture(f"drop_lab?plan={_PLAN},w:wanda@0.5/mlp&{_TEXT}", ("Measure this plan",), height=1300),
    "decide": Picture("decide?windows=8&length=128&search_share=25", ("Search",), height=1200),
}  # fmt: skip


def main() -> None:
    """Start the app, and take them."""
    parser = argparse.ArgumentParser(prog="python -m scripts.pictures", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PICTURES)}; without any, all")
    parser.add_argument("--data", type=Path, default=Path.home() / ".cache" / "prunescope-pictures", help="data directory")
    options = parser.parse_args()
    options.data.mkdir(parents=True, exist_ok=True)
    with serving(options.data) as server, sync_playwright() as player:
        browser = player.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        for name in options.names or PICTURES:
            picture = PICTURES[name]
            page = browser.new_page(viewport={"width": picture.width, "height": picture.height})
            page.set_default_timeout(_WAIT)
            page.goto(f"{server.address}/{picture.link}")
            shown(page, picture)
            page.screenshot(path=ROOT / "docs" / f"{name}.png")
            page.close()
            print(f"docs/{name}.png", flush=True)
        browser.close()


def chromium() -> str:
    """The browser of this machine."""
    if found := shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome"):
        return found
    raise SystemExit("There is no Chromium here: install it with `apt install chromium`.")


def shown(page: Page, picture: Picture) -> None:
    """Load the model, ask what is not known yet, and wait until nothing moves."""
    settled(page)
    if not page.get_by_text(_LOADED).count():
        page.get_by_role("button", name=re.compile("^Load ?")).first.click()
    expect(page.get_by_text(_LOADED).first).to_be_visible(timeout=_WAIT)
    settled(page)
    for label in picture.asks:
        button = page.get_by_role("button", name=label, exact=True)
        if button.count():
            button.click()
            expect(button).to_have_count(0, timeout=_WAIT)
            expect(page.get_by_test_id("stProgress")).to_have_count(0, timeout=_WAIT)
            settled(page)
    if picture.click:
        page.get_by_role("button", name=picture.click, exact=True).click()
        expect(page.get_by_text(picture.wait)).to_be_visible(timeout=_WAIT)
    settled(page)
    page.mouse.move(0, 0)


def settled(page: Page) -> None:
    """Wait until the page is drawn; a fault on it is ours."""
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning", timeout=_WAIT)
    expect(page.get_by_test_id("stSkeleton")).to_have_count(0, timeout=_WAIT)
    expect(page.get_by_test_id("stException")).to_have_count(0)
    for chart in page.locator(".js-plotly-plot:visible").all():
        expect(chart.locator(".main-svg").first).to_be_visible()


if __name__ == "__main__":
    main()
