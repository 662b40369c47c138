"""Names of questions: the same question always has the same key, in every process and on every machine."""

import hashlib
import json
import math


def canonical(value: object) -> str:
    """Write a value as the one JSON text that stands for it.

    Parameters
    ----------
    value : dict, list, tuple, str, int, float, bool or None
        Nested as deep as you like. Tuples are written as lists. ``1`` and ``1.0`` stay different.

    Returns
    -------
    str
        ASCII, keys sorted, no spaces.

    Raises
    ------
    TypeError
        For any other type (arrays, sets, objects): two different ones could be written alike.
    ValueError
        For NaN and infinity, which JSON cannot say.
    """
    _check(value, "the question")
    return json.dumps(value, sort_keys=True, allow_nan=False, separators=(",", ":"))


def key(question: dict) -> str:
    """Name a question: the sha256 of its canonical text, as 64 hexadecimal digits."""
    if not isinstance(question, dict):
        raise TypeError(f"A question is a dict of names and values, not {type(question).__name__}.")
    return hashlib.sha256(canonical(question).encode("ascii")).hexdigest()


def _check(value: object, place: str) -> None:
    """Refuse what JSON would drop, merge or guess, and say where it stands."""
    if isinstance(value, dict):
        for name, item in value.items():
            # json would write the key 1 as "1" and so give two questions one name
            if not isinstance(name, str):
                raise TypeError(f"{place} has the key {name!r}: keys must be str, not {type(name).__name__}.")
            _check(item, f"{place}[{name!r}]")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _check(item, f"{place}[{index}]")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{place} is {value}: a question holds finite numbers only; write None for 'not given'.")
    elif not (value is None or isinstance(value, str | int | float)):
        raise TypeError(
            f"{place} is of type {type(value).__name__}: a question holds dict, list, tuple, str, int, float, bool "
            "and None only; give a digest or a name of it instead."
        )
