"""What is asked of a server, and a proxy in front of it."""

import asyncio
import threading
import urllib.error
import urllib.request

from benchmarks.server import free_port


def get(url: str, **headers: str) -> tuple[int, str, dict]:
    """Status, body and headers of an answer."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=names), timeout=30) as answer:
            return answer.status, answer.read().decode(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), dict(error.headers)


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
