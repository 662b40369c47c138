"""Conditions on an answer, for scripts: ``kl>0.1`` fails a build where a plan does more harm than it may."""

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, get_type_hints

import numpy as np

from refusal import Refusal

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
_CONDITION = re.compile(rf"\s*([A-Za-z_][\w.]*)\s*({'|'.join(_COMPARE)})\s*([-+]?[\w.+-]+)\s*")
_NUMBERS = (int, float, bool)
_SERIES = (np.ndarray, list[int], list[float], list[bool])
_OF_SERIES: dict[str, Callable[[np.ndarray], np.ndarray]] = {"min": np.min, "max": np.max, "mean": np.mean}


@dataclass(frozen=True)
class Condition:
    """A field of a result, compared with a number. ``field`` is dotted: ``decode.ratio``, ``kl.max``."""

    field: str
    sign: str
    limit: float

    def __str__(self) -> str:
        return f"{self.field}{self.sign}{self.limit:g}"

    def holds(self, value: float) -> bool:
        """Whether a value stands so to the limit."""
        return _COMPARE[self.sign](value, self.limit)

    def failure(self, result: dict[str, Any]) -> str:
        """Why an answer fails; empty: it passes. A value that is not a number fails, since it keeps no promise."""
        value = _value(result, self.field)
        if not math.isfinite(value):
            return f"{self} cannot be checked, because {self.field} is {value}."
        return f"{self}: {self.field} is {value:.6g}." if self.holds(value) else ""


def conditions(texts: list[str]) -> tuple[Condition, ...]:
    """Read conditions, several of them in one text with commas between.

    Raises
    ------
    Refusal
        A text is not a condition.
    """
    return tuple(_condition(part) for text in texts for part in text.split(",") if part.strip())


def _condition(text: str) -> Condition:
    found = _CONDITION.fullmatch(text)
    try:
        limit = float(found[3]) if found else math.nan
    except ValueError:
        limit = math.nan
    if found is None or math.isnan(limit):
        signs = " ".join(_COMPARE)
        raise Refusal(f"'{text.strip()}' is not a condition. Write a field, one of {signs}, and a number, as in kl>0.1.")
    return Condition(found[1], found[2], limit)


def refuse_unknown(result: type, asked: tuple[Condition, ...]) -> None:
    """Refuse conditions on fields that a result of this type cannot have, before it is computed.

    Raises
    ------
    Refusal
        Which lists the fields there are.
    """
    known, many = numeric(result), numeric(result, _SERIES)
    for condition in asked:
        name, _, of = condition.field.rpartition(".")
        if condition.field not in known and not (name in many and of in _OF_SERIES):
            series = f" For {', '.join(many)}, use .min, .max or .mean." if many else ""
            raise Refusal(
                f"'{condition.field}' is not a number in this probe's result. Choose one of: {', '.join(known)}.{series}"
            )


def numeric(result: type, kinds: tuple[Any, ...] = _NUMBERS, prefix: str = "") -> list[str]:
    """Names of the fields of some kinds in a result type, dotted where they are nested; by default of single numbers."""
    hints, found = get_type_hints(result), []
    for field in fields(result):
        kind = hints[field.name]
        if is_dataclass(kind):
            found += numeric(kind, kinds, f"{prefix}{field.name}.")
        elif kind in kinds:
            found.append(prefix + field.name)
    return found


def _value(result: dict[str, Any], field: str) -> float:
    value: Any = result
    for name in field.split("."):
        if isinstance(value, Mapping):
            value = value[name]
        else:
            value = _OF_SERIES[name](np.asarray(value, dtype=np.float64)) if np.size(value) else math.nan
    return float(np.asarray(value))
