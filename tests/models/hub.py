"""A hub on this machine: the few addresses that a download asks, served from a folder."""

import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from huggingface_hub import constants

COMMIT = "c0ffee" + "0" * 34


class Hub(ThreadingHTTPServer):
    """Serves ``folder`` as the repository ``owner/tiny``; ``owner/gated`` wants consent, others do not exist."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        super().__init__(("127.0.0.1", 0), _Answers)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def serving_hub(folder, cache, monkeypatch):
    """Serve a folder as the only hub that is known, with nothing fetched from it yet."""
    server = Hub(folder)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, server.address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "ENDPOINT", server.address)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield server
    server.shutdown()
    server.server_close()


class _Answers(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, *args) -> None:
        """Not on the terminal of the tests."""

    def _answer(self, body: bool) -> None:
        path = self.path.split("?")[0].strip("/").split("/")
        if path[0] == "api" and "/".join(path[2:4]) == "owner/gated":
            self._send(403, b"{}", body, {"X-Error-Code": "GatedRepo"})
        elif path[0] == "api" and "/".join(path[2:4]) != "owner/tiny":
            self._send(404, b"{}", body, {"X-Error-Code": "RepoNotFound"})
        elif path[0] == "api" and path[-1] not in ("main", COMMIT):
            self._send(404, b"{}", body, {"X-Error-Code": "RevisionNotFound"})
        elif path[0] == "api":
            self._send(200, json.dumps(self._listing(path[4])).encode(), body)
        else:  # owner/tiny/resolve/COMMIT/file
            content = (self.server.folder / path[-1]).read_bytes()
            self._send(200, content, body, {"X-Repo-Commit": COMMIT, "ETag": f'"{_etag(content)}"'})

    def _listing(self, kind: str) -> dict | list:
        files = sorted(self.server.folder.iterdir())
        if kind == "revision":
            return {"id": "owner/tiny", "sha": COMMIT, "siblings": [{"rfilename": file.name} for file in files]}
        rows = [(file.name, file.stat().st_size, _etag(file.read_bytes())) for file in files]
        return [{"type": "file", "path": name, "size": size, "oid": oid} for name, size, oid in rows]

    def _send(self, status: int, content: bytes, body: bool, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)


def _etag(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()
