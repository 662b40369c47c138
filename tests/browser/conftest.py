"""A real server, a real Chromium, and what the browser complained about."""

import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
START = 60  # seconds for the server to answer
# Part of a complaint → why it is not ours.
IGNORED: list[tuple[str, str]] = [
    ("/_stcore/health", "Streamlit looks for its server under the page's own address first, then at the root"),
    ("/_stcore/host-config", "the same search"),
]


def pytest_collection_modifyitems(items):
    """All tests here need a browser."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def server(data, chromium):
    """The address of the app, running in a process of its own on a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "asgi.py", "--server.headless", "true", "--server.port", str(port)]
    as_usual = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    environment = as_usual | {"PRUNESCOPE_DATA": str(data / "browser"), "HF_HUB_OFFLINE": "1", "FORWARDED_ALLOW_IPS": ""}
    _share_the_model(data)
    with (data / "server.log").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        _wait_until_healthy(f"http://localhost:{port}", process, data / "server.log")
        yield f"http://localhost:{port}"
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _share_the_model(data):
    """Answers are the server's own, but unpacking the bundled model once is enough."""
    (data / "browser").mkdir(exist_ok=True)
    (data / "models").mkdir(exist_ok=True)
    if not (data / "browser" / "models").exists():
        (data / "browser" / "models").symlink_to(data / "models", target_is_directory=True)


def _wait_until_healthy(address, process, log):
    pause, end = threading.Event(), time.monotonic() + START
    while time.monotonic() < end:
        assert process.poll() is None, f"the server ended: {log.read_text()}"
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=5) as answer:
                if answer.read() == b"ok":
                    return
        except OSError:
            pause.wait(0.2)  # nobody listens yet
    pytest.fail(f"the server does not answer: {log.read_text()}")


@pytest.fixture
def open_page(browser, server):
    """Open an address of the app in a window of its own; at the end, no page may have complained."""
    contexts, complaints = [], []

    def opened(path="", width=1440, height=1100, theme="light"):
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(f"{said.text} {said.location}") if said.type == "error" else None)
        page.on("response", lambda got: complaints.append(f"{got.status} {got.url}") if got.status >= 400 else None)
        page.goto(f"{server}/{path}")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert [said for said in complaints if not any(part in said for part, _ in IGNORED)] == []
