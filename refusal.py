"""What every layer shares: a refusal says why not, and progress says how far."""

from collections.abc import Callable

# Called between steps of long work as ``progress(done, total, text)``; it may raise to cancel the work.
Progress = Callable[[float, float, str], None]


class Refusal(ValueError):
    """Input that cannot be answered. The message is for the person: what is wrong, what to write instead."""


def silent(done: float, total: float, text: str) -> None:
    """Progress for those who do not watch."""
