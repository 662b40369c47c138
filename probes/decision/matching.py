"""Which plans of the table a person wants to see: ``kl<0.5 saved>0.2 candidate``."""

from collections.abc import Sequence
from dataclasses import fields

from probes.decision.rows import Row
from probes.gate import Condition, conditions
from refusal import Refusal

NUMBERS = tuple(field.name for field in fields(Row) if field.type == float | None)


def matching(rows: Sequence[Row], text: str) -> list[Row]:
    """The rows that meet every condition and hold every word in plan, name or note.

    Parameters
    ----------
    text : str
        With spaces between; a condition is one of `NUMBERS`, a sign and a number.

    Raises
    ------
    Refusal
        A condition cannot be read, or there is no such number.
    """
    terms = text.split()
    asked = [each for term in terms if set(term) & set("<>=!") for each in conditions([term])]
    for condition in asked:
        if condition.field not in NUMBERS:
            raise Refusal(f"'{condition.field}' is not a number in this table. Choose one of: {', '.join(NUMBERS)}.")
    words = [term.casefold() for term in terms if not set(term) & set("<>=!")]
    return [row for row in rows if all(_meets(row, each) for each in asked) and all(word in _text(row) for word in words)]


def _meets(row: Row, condition: Condition) -> bool:
    value = getattr(row, condition.field)
    return value is not None and condition.holds(value)


def _text(row: Row) -> str:
    return "\n".join((row.noted.plan, row.noted.name, row.noted.note)).casefold()
