"""A progress bar on a terminal; nothing where the output goes to a file or to another program."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

from refusal import Progress, silent

_FORMAT = "{desc} {percentage:3.0f} %|{bar:24}| {elapsed}, {remaining} left"
_OPEN = "{desc} {elapsed}"  # while nobody knows how much there is to do


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """A bar on stderr that is gone at the end; called as any progress.

    Amounts may go back and totals may change from step to step, as they do between loading a model and measuring it.
    """
    if not sys.stderr.isatty():
        yield silent
        return
    with tqdm(file=sys.stderr, leave=False, bar_format=_OPEN, dynamic_ncols=True) as bar:

        def tell(done: float, total: float, text: str) -> None:
            if (total or None) != bar.total or done < bar.n:
                bar.reset(total or None)
                bar.bar_format = _FORMAT if total else _OPEN
            bar.n = min(done, total) if total else done
            bar.set_description_str(text, refresh=False)
            bar.refresh()

        yield tell
