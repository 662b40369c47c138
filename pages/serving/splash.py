"""The first page that a browser gets: Streamlit's own, with the name of the app in it until its scripts have been read."""

from functools import cache
from pathlib import Path

import streamlit
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse

from pages.flow.order import PLACES

PATHS = ("/", *(f"/{name}" for name in PLACES))
_INDEX = Path(streamlit.__file__).parent / "static" / "index.html"
_LOGO = Path(__file__).parents[1] / "logo.svg"
_ROOT = '<div id="root"></div>'
_LOOK = """
.splash { position: fixed; inset: 0; display: grid; place-items: center; background: #fbfcfc; color-scheme: light; }
@media (prefers-color-scheme: dark) { .splash { background: #0e1719; color-scheme: dark; } }
"""


async def answer(request: Request) -> HTMLResponse:
    """The routes of the pages."""
    return HTMLResponse(with_splash(_INDEX.read_text(encoding="utf-8")), headers={"Cache-Control": "no-cache"})


async def home(request: Request) -> RedirectResponse:
    """The page Model is the root; Streamlit knows it by no other path."""
    return RedirectResponse(f"./?{request.url.query}" if request.url.query else "./")


@cache
def with_splash(index: str) -> str:
    """Streamlit's page with the logo where it puts the app, which replaces it; another version's page is left as it is."""
    logo = _LOGO.read_text(encoding="utf-8")
    splash = f'<style>{_LOOK}</style><div class="splash" role="status" aria-label="PruneScope is loading">{logo}</div>'
    named = index.replace("<title>Streamlit</title>", "<title>PruneScope</title>")
    return named.replace(_ROOT, _ROOT.replace("></", f">{splash}</"))
