"""How the server ends: at a SIGTERM or Ctrl-C it takes no more work, what runs stops at its next batch, and soon it is gone.

What was computed is in the store by then, piece by piece. Questions without an answer stay in the ledger, and *Storage* offers
them after the next start.
"""

import asyncio
import logging
import os
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.concurrency import run_in_threadpool

from pages import shell
from refusal import Refusal

BATCH = 5.0  # seconds that the batch being computed may still take
ALL = 8.0  # seconds after which the process ends whatever still runs, such as a slow download; Docker kills it after ten
_log = logging.getLogger(__name__)


@asynccontextmanager
async def until_stopped(app: object) -> AsyncIterator[None]:
    """Stop the work as soon as a signal comes; the web server itself tells only when the last visitor has gone."""
    told = asyncio.Event()
    watching = asyncio.create_task(_stop(told))
    if threading.current_thread() is threading.main_thread():
        _also_tell(told)
    yield
    told.set()
    await watching


def _also_tell(told: asyncio.Event) -> None:
    """Before the web server's own handlers, which it has set by now and takes back when it ends."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        before = signal.getsignal(number)

        def tell(number: int, frame: object, before=before) -> None:
            loop.call_soon_threadsafe(told.set)
            if callable(before):
                before(number, frame)

        signal.signal(number, tell)


async def _stop(told: asyncio.Event) -> None:
    await told.wait()
    asyncio.get_running_loop().call_later(ALL, os._exit, 128 + signal.SIGTERM)
    try:
        await run_in_threadpool(shell.workbench().stop, BATCH)
    except (OSError, Refusal, shell.StoreError) as error:  # there is no store, so nothing ran
        _log.warning("The server ends without its store: %s", error)
