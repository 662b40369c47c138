"""A bound on time for what was made to hang, so that a test that fails does so."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


class Late(BaseException):
    """No Exception, which the code under test might catch."""


@contextmanager
def limited(seconds: int = 30) -> Iterator[None]:
    """Fail where the block takes longer; what only Rust or C could stop is not stopped."""

    def late(*_: object) -> None:
        raise Late(f"it took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
