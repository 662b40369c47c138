"""Headers on every answer, and a word with whoever asks for a host that this server does not answer for.

A page may fetch from this server alone: an image in a text that somebody wrote is not fetched from elsewhere, and no other site
can put the app into a frame. Streamlit checks host names too, but those of its websocket only.
"""

from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from streamlit import config

_POLICY = {
    "default-src": "'self'",
    "script-src": "'self' 'unsafe-inline' 'unsafe-eval' 'wasm-unsafe-eval' blob:",  # Streamlit and plotly make code
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data: blob:",
    "font-src": "'self' data:",
    "media-src": "'self' data: blob:",
    "connect-src": "'self' ws: wss: data: blob:",
    "worker-src": "'self' blob:",
    "frame-src": "'self' data: blob:",
    "object-src": "'none'",
    "base-uri": "'self'",
    "form-action": "'self'",
    "frame-ancestors": "'self'",
}
HEADERS = {
    "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in _POLICY.items()),
    "X-Frame-Options": "SAMEORIGIN",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # addresses of pages hold the names of texts
}


class Guard:
    """ASGI middleware around everything that the server answers."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        host = Headers(scope=scope).get("host", "")
        inside = self._app if host_allowed(host, config.get_option("server.allowedHosts")) else _REFUSED
        await inside(scope, receive, guarded)


_REFUSED = PlainTextResponse(
    "This server does not answer to that host name. An operator can add it to STREAMLIT_SERVER_ALLOWED_HOSTS.\n", 400
)


def host_allowed(host: str, allowed: list[str]) -> bool:
    """Whether a Host header names one of ``allowed``: ``*`` is any, ``*.example.com`` what ends so; ports do not count."""
    try:
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:  # brackets that do not close
        return False
    patterns = [each.strip().lower().rstrip(".") for each in allowed]
    if not patterns or "*" in patterns:
        return True
    return any(name == each or (each.startswith("*.") and name.endswith(each[1:])) for each in patterns)
