"""Whether the server can do its work: 200 where the store opens and the disk can be written, else 503 with the reason."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse

from refusal import Refusal
from settings import data_directory

_WORD = b"ready"
_begun: dict[str, Any] = {}  # what imports the app's libraries, once for the process


@asynccontextmanager
async def lifespan(app: Any) -> AsyncIterator[None]:
    """Import torch and all that before the first visitor comes."""
    _begun["task"] = asyncio.create_task(run_in_threadpool(_begin))
    yield
    with suppress(Exception):
        await _begun.pop("task")


def _begin() -> None:
    from pages import shell

    shell.workbench()


async def answer(request: Request) -> JSONResponse:
    """The route ``/ready``."""
    task = _begun.get("task")
    why = "PruneScope is starting." if task is not None and not task.done() else await run_in_threadpool(trouble)
    return JSONResponse({"ready": not why} | ({"why": why} if why else {}), 503 if why else 200)


def trouble() -> str:
    """Why nothing can be asked now; empty: it can."""
    from pages import shell

    try:
        with tempfile.TemporaryFile(dir=data_directory()) as file:
            file.write(_WORD)
            file.flush()
        _ = shell.workbench().store.size
    except OSError as error:
        return f"The data directory cannot be written: {error.strerror}."
    except (Refusal, shell.StoreError) as error:
        return str(error)
    return ""
