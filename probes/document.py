"""An answer as the shell gives it: a JSON document, and a summary for a terminal."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from probes.answer import Answer
from probes.base import as_dict
from refusal import plural


def document(answer: Answer, elapsed: float) -> dict[str, Any]:
    """Question, result and circumstances as JSON values; ``elapsed`` seconds passed until it was there."""
    about = dict(answer.about)
    question = about.pop("question", {})
    return _plain({"question": question, "result": as_dict(answer.result), "about": about | {"elapsed": elapsed}})


def _plain(value: Any) -> Any:
    """Arrays as lists, and numbers that JSON does not know as null."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def written(target: str | None, document: dict[str, Any], title: str) -> None:
    """Write a document into a file, or to stdout for ``-``; and a summary to stdout, unless the document is there."""
    if target == "-":
        print(json.dumps(document, indent=1))
    elif target:
        Path(target).write_text(json.dumps(document, indent=1) + "\n")
    if target != "-":
        print(title)
        for name, value in _lines(document["result"]):
            print(f"  {name:<18} {_short(value)}")
        print(f"  {'from cache' if document['about']['from_cache'] else 'computed'} in {document['about']['elapsed']:.3g} s")


def _lines(result: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Names and values; of nested results what is one number or text, by its dotted name."""
    for name, value in result.items():
        inner = list(_lines(value, f"{prefix}{name}.")) if isinstance(value, dict) else []
        yield from inner or ([(prefix + name, value)] if not prefix or not isinstance(value, dict | list) else [])


def _short(value: Any) -> str:
    """One line of a value: numbers in full, long lists by their beginning."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list) and value and isinstance(value[0], int | float | str):
        shown = " ".join(_short(each) for each in value[:10])
        return shown + (f" … ({len(value)})" if len(value) > 10 else "")
    if isinstance(value, list):
        return f"{plural(len(value), 'row')}, in --json"
    return "in --json" if isinstance(value, dict) else str(value)
