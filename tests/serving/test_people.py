"""Who is asking: a proxy in front of the real app says so, in a real browser; from anywhere else its header counts nothing."""

import pytest

pytest.importorskip("playwright", reason="Playwright drives the browser: install it with `make test`.")
from playwright.sync_api import expect

from benchmarks.server import serving
from tests.serving.server import Proxy

HEADER = "X-Forwarded-User"
pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The app behind a proxy that it trusts; its address and its log."""
    settings = {"USER_HEADER": HEADER, "PROXIES": "127.0.0.1", "OPERATORS": "grace@example.com", "LOG": "json"}
    given = {f"PRUNESCOPE_{name}": value for name, value in settings.items()}
    with serving(tmp_path_factory.mktemp("people") / "data", **given) as found:
        yield found


@pytest.fixture
def page(browser):
    """Open a page in a window of its own."""
    contexts = []

    def opened(address, **more):
        contexts.append(browser.new_context(**more))
        page = contexts[-1].new_page()
        page.goto(address, timeout=60_000)
        return page

    yield opened
    for each in contexts:
        each.close()


def port(server):
    return int(server[0].rpartition(":")[2])


@pytest.mark.parametrize("name, operator", [("ada@example.com", False), ("grace@example.com", True)])
def test_the_proxy_says_who_it_is(server, page, name, operator):
    with Proxy(port(server), HEADER, [name]) as address:
        opened = page(address, extra_http_headers={HEADER: "grace@example.com"})
        said = opened.get_by_test_id("stSidebar").get_by_text(name)
        expect(said).to_be_visible(timeout=60_000)
        expect(opened.get_by_text("operator", exact=False)).to_have_count(int(operator))
        expect(opened.locator(".st-key-model input")).to_be_visible()


def refused(opened):
    expect(opened.get_by_text("did not come from it")).to_be_visible(timeout=60_000)
    expect(opened.locator(".st-key-model input")).to_have_count(0)


def test_nobody_comes_in_past_the_proxy(server, page):
    refused(page(server[0]))


def test_nobody_elsewhere_can_say_who_they_are(server, page):
    with Proxy(port(server), HEADER, ["grace@example.com"], source="127.0.0.2") as address:
        refused(page(address))


@pytest.mark.parametrize("names", [[], [""], ["ada@example.com", "grace@example.com"]])
def test_a_proxy_that_says_no_name_or_two(server, page, names):
    with Proxy(port(server), HEADER, names) as address:
        refused(page(address))
