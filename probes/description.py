"""Whether what a row of the store says about an answer has the shape that PruneScope writes, so that readers may rely on it."""

import math
from collections.abc import Mapping
from typing import Any

_REF = {"name": str, "dtype": str, "device": str}
_VERSIONS = {None: str}  # whatever the names
_QUESTION = {
    "probe": str,
    "probe_version": int,
    "model": _REF | {"fingerprint": str},
    "corpus": dict,
    "plan": str,
    "params": dict,
    "texts": {None: str},
    "versions": _VERSIONS,
}
_ANSWER = {
    "question": _QUESTION,
    "seconds": float,
    "created": float,
    "tokens": int,
    "windows": int,
    "digest": str,
    "versions": _VERSIONS,
    "device": str,
    "dtype": str,
}
_CORPUS = {"name": str, "windows": int, "length": int, "text": str}


def well_formed(about: Mapping[str, Any]) -> bool:
    """Whether a description is that of an answer, or says nothing of a question: pieces, models, notes."""
    if "question" not in about:
        return all(
            _fits(about[name], {"model": dict, "fingerprint": str}[name]) for name in ("model", "fingerprint") if name in about
        )
    return _fits(about, _ANSWER) and (about["question"]["corpus"] == {} or _fits(about["question"]["corpus"], _CORPUS))


def _fits(value: Any, shape: Any) -> bool:
    """Whether a value is of a type, or a mapping with the fields of a shape; None stands for any name."""
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return False
        if None in shape:
            return all(_fits(each, shape[None]) for each in value.values())
        return all(name in value and _fits(value[name], each) for name, each in shape.items())
    if shape is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return isinstance(value, shape) and (shape is not int or not isinstance(value, bool))
