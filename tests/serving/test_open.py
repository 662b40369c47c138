"""The attack again, on a real server that others reach: files of the server and texts of others do not open."""

import re

import pytest

pytest.importorskip("playwright", reason="Playwright drives the browser: install it with `make test`.")
from playwright.sync_api import expect

from benchmarks.server import serving

pytestmark = pytest.mark.browser
WORDS = "the password of the capital of France is swordfish. " * 40


@pytest.fixture(scope="module")
def open_page(tmp_path_factory, tiny_folder, browser):
    """Pages of an open server, in one browser."""
    given = {"PRUNESCOPE_OPEN": "yes", "PRUNESCOPE_ROOTS": str(tiny_folder)}
    with serving(tmp_path_factory.mktemp("open") / "data", "0.0.0.0", **given) as running:
        contexts = []

        def opened(path, **link):
            contexts.append(browser.new_context())
            page = contexts[-1].new_page()
            page.set_default_timeout(60_000)
            asked = {"model": str(tiny_folder), "windows": "2", "length": "32", "device": "cpu"} | link
            page.goto(f"{running.address}/{path}?{'&'.join(f'{name}={value}' for name, value in asked.items())}")
            expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning", timeout=60_000)
            return page

        page = opened("")
        page.get_by_role("button", name=re.compile("^Load ")).first.click()
        expect(page.get_by_text("is in memory").first).to_be_visible(timeout=60_000)
        yield opened
        for each in contexts:
            each.close()


@pytest.mark.parametrize("path", ["/etc/passwd", "/etc", "/proc/self", "{tmp}"])
def test_no_file_of_the_server_is_a_model(open_page, tmp_path, path):
    page = open_page("", model=path.format(tmp=tmp_path))
    page.get_by_role("button", name="Load", exact=True).click()
    expect(page.get_by_text("opens models only from").first).to_be_visible(timeout=60_000)


def test_no_file_of_the_server_is_a_text(open_page, tmp_path):
    (tmp_path / "seen.txt").symlink_to("/etc/passwd")
    (tmp_path / "own.txt").write_text(WORDS)
    for path in (tmp_path / "seen.txt", tmp_path / "own.txt", "/etc/none.txt"):
        page = open_page("similarity", corpus=str(path))
        expect(page.get_by_text("opens texts only from").first).to_be_visible()
        expect(page.get_by_role("button", name="Measure similarity")).to_have_count(0)


def test_the_text_of_another_does_not_open_by_what_storage_shows(open_page):
    ada = open_page("")
    ada.get_by_text("Use your own text").click()
    ada.get_by_label("Paste text").fill(WORDS)
    ada.get_by_label("Paste text").press("Control+Enter")
    ada.get_by_role("button", name="Use this text").click()
    ada.wait_for_url(lambda url: "corpus=text" in url)
    name = "text:" + re.search(r"corpus=text(?:%3A|:)([0-9a-f]+)", ada.url)[1]
    mine = open_page("similarity", corpus=name)
    mine.get_by_role("button", name="Measure similarity").click()
    expect(mine.get_by_text("computed in").first).to_be_visible(timeout=60_000)
    eve = open_page("storage")
    assert name not in eve.content() and name[5:] not in eve.content()
    for guess in ("own+text+000000", "text:" + "0" * 32):
        expect(open_page("similarity", corpus=guess).get_by_test_id("stAlert").first).to_be_visible()
