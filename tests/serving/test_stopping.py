"""SIGTERM while a question runs: the process ends soon, what was computed stays, and the question goes on after the restart."""

import re
import signal
import socket
import time
from pathlib import Path

import pytest
import streamlit

pytest.importorskip("playwright", reason="Playwright drives the browser: install it with `make test`.")
from playwright.sync_api import expect

from benchmarks.server import answered, free_port, started
from cache.codec import decode
from pages.serving.stopping import ALL, BATCH
from probes.answer import open_ledger, open_store

pytestmark = pytest.mark.browser
ENDED = (0, -signal.SIGTERM, 128 + signal.SIGTERM)
LONG = 60_000  # milliseconds


class Server:
    """One that is ended by a signal and can be started again on the same data directory."""

    def __init__(self, folder, **given):
        self.data, self.given = folder / "data", {"OMP_NUM_THREADS": "1", **given}
        self.start()

    def start(self):
        self.port, log = free_port(), self.data.parent / "log"
        self.process = started(self.data, self.port, log, "localhost", self.given)
        answered(f"http://127.0.0.1:{self.port}/ready", self.process, log)

    def end(self) -> float:
        """Seconds from the signal to the end."""
        begun = time.monotonic()
        self.process.terminate()
        assert self.process.wait(60) in ENDED
        return time.monotonic() - begun


@pytest.fixture
def server(tmp_path, request):
    made = Server(tmp_path, **getattr(request, "param", {}))
    yield made
    made.process.kill()
    made.process.wait()


@pytest.fixture
def page(browser):
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(LONG)
    yield page
    context.close()


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "prose.txt"
    path.write_text("The capital of France is Paris, and the capital of the arts. " * 20_000)
    return path


def asked(server, page, link, button):
    """Load the model of a link and ask."""
    page.goto(f"http://127.0.0.1:{server.port}/{link}")
    page.get_by_role("button", name=re.compile("^Load ")).first.click()
    page.get_by_role("button", name=button).click()


def gone_on(server, page):
    page.goto(f"http://127.0.0.1:{server.port}/storage")
    page.get_by_role("button", name="Resume").click()


def kept(data, monkeypatch) -> tuple[list, int]:
    """The interrupted questions, and how many windows of drop scans are stored."""
    monkeypatch.setenv("PRUNESCOPE_DATA", str(data))
    store = open_store()
    lines = open_ledger(store).interrupted(lambda key: False)
    return lines, sum("memory" in entry.about for entry in store.entries())


def summed(data, monkeypatch) -> int:
    """How many windows are in the sums of the one question that was interrupted."""
    monkeypatch.setenv("PRUNESCOPE_DATA", str(data))
    store = open_store()
    [end] = store.entries(lambda about: "sums" in about and about.get("piece") == "end")
    return decode(store.read(end.key).payload)["windows"]


def slow_download(port: int) -> socket.socket:
    """The largest file of the pages, asked for and not read."""
    folder = Path(streamlit.__file__).parent / "static"
    largest = max((path for path in folder.rglob("*.js")), key=lambda path: path.stat().st_size)
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    line.connect(("127.0.0.1", port))
    line.sendall(f"GET /{largest.relative_to(folder).as_posix()} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert line.recv(12) == b"HTTP/1.1 200"
    return line


def test_what_runs_at_a_sigterm_goes_on_after_the_restart(server, page, tiny_folder, text, monkeypatch):
    asked(server, page, f"scan?model={tiny_folder}&corpus={text}&windows=5000&length=64&device=cpu", "Scan all drops")
    expect(page.get_by_text(re.compile("window [3-9]")).first).to_be_visible(timeout=LONG)
    assert server.end() < BATCH
    [line], windows = kept(server.data, monkeypatch)
    assert line.question["probe"] == "drop_scan" and windows >= 2
    server.start()
    gone_on(server, page)
    expect(page.get_by_text(re.compile("window [0-9]")).first).to_be_visible(timeout=LONG)
    with slow_download(server.port):
        assert server.end() < ALL + 2
    [again], more = kept(server.data, monkeypatch)
    assert again == line and more > windows


@pytest.mark.parametrize("server", [{"PRUNESCOPE_EXECUTOR": "worker"}], ids=["worker"], indirect=True)
def test_sums_of_many_windows_go_on_after_their_last_one(server, page, tiny_folder, text, monkeypatch):
    """The first window that is told after the restart comes after all that were summed before."""
    link = f"similarity?model={tiny_folder}&corpus={text}&windows=5000&length=64&device=cpu"
    asked(server, page, link, "Measure similarity")
    expect(page.get_by_text(re.compile(r"window ([5-9]\d\d|\d{4}) of 5000")).first).to_be_visible(timeout=LONG)
    assert server.end() < BATCH
    [line], _ = kept(server.data, monkeypatch)
    windows = summed(server.data, monkeypatch)
    assert line.question["probe"] == "similarity" and 500 <= windows < 5000
    server.start()
    gone_on(server, page)
    told = page.get_by_text(re.compile(r"window \d+ of 5000")).first
    expect(told).to_be_visible(timeout=LONG)
    assert int(re.search(r"window (\d+) of", told.inner_text())[1]) > windows
