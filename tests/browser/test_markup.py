"""Markdown in a link, in a real browser: it is shown as it is, no picture is fetched, and no link hides its address."""

import http.server
import re
import threading
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

NAMES = ["model", "revision", "corpus", "plan", "against", "stable_other", "drift_base"]


@pytest.fixture
def elsewhere():
    """Another server: its address, and what was asked of it."""
    asked = []

    class Seen(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Seen)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("path", ["", "similarity", "storage", "drop_lab", "decide"])
def test_a_picture_in_a_link_is_not_fetched(open_page, elsewhere, path):
    address, asked = elsewhere
    text = f"![x]({address}/seen.png) [y]({address}/link) **bold** :red[red]"
    page = open_page(f"{path}?windows=2&length=64&" + "&".join(f"{name}={quote(text)}" for name in NAMES))
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning", timeout=60_000)
    expect(page.get_by_text("**bold**").first).to_be_visible()
    assert page.locator(f"img[src*='{address}']").count() == 0 and asked == []
    for link in page.locator(f"a[href*='{address}']").all():  # a bare address is a link, and says where it leads
        assert link.inner_text().startswith(address)
    expect(page.locator("strong", has_text=re.compile("^bold$"))).to_have_count(0)
