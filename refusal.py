"""What every layer shares: a refusal says why not, progress says how far, and a number comes with its noun."""

from collections.abc import Callable

# Called between steps of long work as ``progress(done, total, text)``; it may raise to cancel the work.
Progress = Callable[[float, float, str], None]


class Refusal(ValueError):
    """Input that cannot be answered. The message is for the person: what is wrong, what to write instead."""


def silent(done: float, total: float, text: str) -> None:
    """Progress for those who do not watch."""


def plural(number: int, one: str, many: str = "") -> str:
    """A number with its noun: ``1 window``, ``2,048 tokens``; ``many`` where the plural takes more than an s."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
