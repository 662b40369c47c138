"""The app as a server in a process of its own on a free port, and a proxy in front of it."""

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
SECONDS = 90  # to start


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def get(url: str, **headers: str) -> tuple[int, str, dict]:
    """Status, body and headers of an answer."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=names), timeout=30) as answer:
            return answer.status, answer.read().decode(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), dict(error.headers)


@contextmanager
def serving(data: Path, address: str = "localhost", **environment: str):
    """Start it, wait until it is ready or says why not; yields its address and the file of its log."""
    port, log = free_port(), data.parent / f"{data.name}.log"
    process = started(data, port, log, address, environment)
    try:
        answered(f"http://127.0.0.1:{port}/ready", process, log)
        yield f"http://127.0.0.1:{port}", log
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def started(data: Path, port: int, log: Path, address: str, environment: dict[str, str]) -> subprocess.Popen:
    command = [sys.executable, "-m", "streamlit", "run", "asgi.py", "--server.headless", "true", "--server.port", str(port)]
    command += ["--server.address", address]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PRUNESCOPE_")}
    given = {"PRUNESCOPE_DATA": str(data), "HF_HUB_OFFLINE": "1", "FORWARDED_ALLOW_IPS": "", **environment}
    with log.open("w") as file:
        return subprocess.Popen(command, cwd=ROOT, env=kept | given, stdout=file, stderr=subprocess.STDOUT)


def answered(url: str, process: subprocess.Popen, log: Path) -> None:
    """Wait until the server answers, whether or not it can do its work."""
    pause, end = threading.Event(), time.monotonic() + SECONDS
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        try:
            get(url)
            return
        except OSError:
            pause.wait(0.2)  # nobody listens yet
    raise AssertionError(log.read_text())


class Proxy:
    """A proxy that says who is asking, as one with a login does: it takes the clients' own copies of the header away.

    It may speak from another address than this machine's usual one, as somebody elsewhere would.
    """

    def __init__(self, port: int, header: str, names: list[str], source: str = "127.0.0.1") -> None:
        self.target, self.header, self.names, self.source = port, header.lower(), names, source
        self.port, self._up = free_port(), threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> str:
        self._thread.start()
        assert self._up.wait(10)
        return f"http://127.0.0.1:{self.port}"

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(asyncio.start_server(self._pass_on, "127.0.0.1", self.port))
        self._up.set()
        self._loop.run_forever()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
            onward, back = await asyncio.open_connection("127.0.0.1", self.target, local_addr=(self.source, 0))
            kept = [line for line in head if not line.lower().startswith((f"{self.header}:", "x-forwarded-for:"))]
            if not any(line.lower().startswith("upgrade:") for line in head):  # one request for each connection
                kept = [line for line in kept if not line.lower().startswith("connection:")] + ["Connection: close"]
            kept += [f"{self.header}: {name}" for name in self.names] + ["X-Forwarded-For: 203.0.113.7"]
            back.write("\r\n".join([*kept, "", ""]).encode("latin-1"))
            await asyncio.gather(_pump(reader, back), _pump(onward, writer))
        except (OSError, asyncio.IncompleteReadError):
            writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while some := await reader.read(65536):
            writer.write(some)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()
