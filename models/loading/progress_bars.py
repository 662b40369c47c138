"""Other people's progress bars, as calls of our progress: nothing is drawn on the terminal of the server."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tqdm.auto import tqdm
from transformers import modeling_gguf_pytorch_utils as gguf_reader
from transformers.utils import logging

from refusal import Progress

# The hook of transformers is one per process; whoever holds this lock owns it.
_HOOK = threading.Lock()
_POLL = 0.2  # seconds between two looks at it, so that whoever waits can cancel


def bar_class(progress: Progress, text: Callable[[tqdm], str | None]) -> type[tqdm]:
    """A class of bars that report instead of drawing.

    Parameters
    ----------
    progress : Progress
        Called at each step; what it raises stops the work.
    text : callable
        What to say of a bar; None: nothing is reported of it.
    """

    class Bar(tqdm):
        """A tqdm that is switched off, so that its clock, lock and monitor thread never start."""

        def __init__(self, *args: Any, **options: Any) -> None:
            self.desc, self.unit = options.get("desc") or "", options.get("unit") or "it"
            super().__init__(*args, **{**options, "disable": True})

        def __iter__(self) -> Iterator[Any]:
            for item in self.iterable:
                yield item
                self.update(1)

        def update(self, n: float | None = 1) -> None:
            self.n += n or 0
            said = text(self)
            if said:
                progress(self.n, self.total or 0, said)

    return Bar


@contextmanager
def reported(progress: Progress) -> Iterator[None]:
    """While it lasts, the bars of transformers go to ``progress``; one at a time in a process."""
    bar = bar_class(progress, lambda bar: bar.desc.strip(" .:").lower())
    while not _HOOK.acquire(timeout=_POLL):
        progress(0, 0, "waiting for another model that is being loaded")
    try:
        hook, drawn = logging.set_tqdm_hook(lambda factory, args, options: bar(*args, **options)), gguf_reader.tqdm
        gguf_reader.tqdm = bar  # it draws its bar without asking the hook
        try:
            yield
        finally:
            logging.set_tqdm_hook(hook)
            gguf_reader.tqdm = drawn
    finally:
        _HOOK.release()
