"""Whether the server can do its work: 200 where the store opens and the disk can be written, else 503 with the reason."""

import tempfile

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse

from pages import shell
from refusal import Refusal
from settings import data_directory


async def answer(request: Request) -> JSONResponse:
    """The route ``/ready``."""
    why = await run_in_threadpool(trouble)
    return JSONResponse({"ready": not why} | ({"why": why} if why else {}), 503 if why else 200)


def trouble() -> str:
    """Why nothing can be asked now; empty: it can."""
    try:
        with tempfile.TemporaryFile(dir=data_directory()) as file:
            file.write(b"ready")
            file.flush()
        _ = shell.workbench().store.size
    except OSError as error:
        return f"The data directory cannot be written to: {error.strerror}."
    except (Refusal, shell.StoreError) as error:
        return str(error)
    return ""
