"""The app as a server in a process of its own, on a free port; for load tests, browsers and tests of what it answers."""

import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
_START = 90  # seconds
_STOP = 30
# What a person's own shell says about the app, and how many cores the tests' tiny models get, is not for this server.
_NOT_OURS = ("PRUNESCOPE_", "OMP_NUM_THREADS")


class Server(NamedTuple):
    """One that answers."""

    address: str
    log: Path
    process: subprocess.Popen


@contextmanager
def serving(data: Path, address: str = "localhost", **environment: str) -> Iterator[Server]:
    """Start it, and end it afterwards; it answers when this begins, though `/ready` may say why it cannot work.

    Parameters
    ----------
    data : Path
        Its data directory; the log goes beside it.
    address : str
        What it listens on.
    """
    port, log = free_port(), data.parent / f"{data.name}.log"
    process = started(data, port, log, address, environment)
    try:
        answered(f"http://127.0.0.1:{port}/ready", process, log)
        yield Server(f"http://127.0.0.1:{port}", log, process)
    finally:
        process.terminate()
        try:
            process.wait(_STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def started(data: Path, port: int, log: Path, address: str, environment: dict[str, str]) -> subprocess.Popen:
    """The process, whether or not it will answer."""
    command = [sys.executable, "-m", "streamlit", "run", "asgi.py", "--server.headless", "true", "--server.port", str(port)]
    command += ["--server.address", address]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_OURS)}
    given = {"PRUNESCOPE_DATA": str(data), "HF_HUB_OFFLINE": "1", "FORWARDED_ALLOW_IPS": "", **environment}
    with log.open("w") as file:
        return subprocess.Popen(command, cwd=ROOT, env=kept | given, stdout=file, stderr=subprocess.STDOUT)


def answered(url: str, process: subprocess.Popen, log: Path) -> None:
    """Wait until it answers; a `RuntimeError` with its log if it never does."""
    pause, end = threading.Event(), time.monotonic() + _START
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"The server ended: {log.read_text()}")
        try:
            urllib.request.urlopen(url, timeout=30).close()
            return
        except urllib.error.HTTPError:  # it answers, and says why not
            return
        except OSError:
            pause.wait(0.2)  # nobody listens yet
    raise RuntimeError(f"The server does not answer: {log.read_text()}")
