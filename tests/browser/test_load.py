"""The short form of `make load`: two people at once, each with a model and a plan of their own, then each alone."""

import threading
import time

import pytest

pytest.importorskip("playwright", reason="Playwright drives the browser: install it with `make test`.")

from benchmarks.load import Seen, visitor
from tests.browser.test_app import SMALL, load

TOGETHER = 5  # seconds in which they begin a round


def visit(server, chromium, seen, numbers, seconds):
    until = time.monotonic() + seconds
    threads = [threading.Thread(target=visitor, args=(number, server, until, seen, chromium)) for number in numbers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_nobody_sees_what_another_asked(open_page, server, chromium):
    load(open_page(f"?{SMALL}"))  # unpacked, if it was not yet
    seen = Seen()
    visit(server, chromium, seen, (0, 1), TOGETHER)
    together = {key: set(texts) for key, texts in seen.texts.items()}
    for number in (0, 1):
        visit(server, chromium, seen, (number,), 0)
    assert (seen.faults, seen.crossed()) == ([], [])
    assert seen.texts == together and len(together) == 2 and seen.answers >= 4 and len(seen.pages) >= 8
    assert len(set(map(frozenset, together.values()))) == 2, "each plan has a text of its own, so a mix-up would show"
