"""What a figure shows, to take along: its points as rows and as CSV, and the whole chart as an HTML file."""

import html
import re
from collections.abc import Iterator
from typing import Any

import plotly.graph_objects as go

from charts import style
from charts.generation.answers import as_csv
from charts.report import page


def rows(figure: go.Figure) -> list[dict[str, Any]]:
    """A row for each point and each cell of a map, as it is drawn; what only decorates is left out.

    Returns
    -------
    list of dict
        ``series, x axis, x, y axis, y``, and where they are known ``value`` of a cell, ``low`` and ``high`` of an interval,
        and ``note``, the hover text.
    """
    return [row for trace in figure.data if _tells(trace) for row in _rows(figure, trace)]


def csv(figure: go.Figure) -> str:
    """The rows as CSV; empty where there is no point."""
    found = rows(figure)
    names = list(dict.fromkeys(name for row in found for name in row))
    return as_csv([{name: row.get(name, "") for name in names} for row in found]) if found else ""


def document(figure: go.Figure, title: str) -> str:
    """A file that draws without a network; about 5 MB, most of which is plotly.js."""
    said = style.finding(figure)
    return page.document(title, [*([page.paragraph(said)] if said else []), page.figure(figure)])


def _tells(trace: Any) -> bool:
    """Whether a trace holds numbers: not digits over a map, places to click, or an entry of the legend."""
    if trace.type == "heatmap":
        return True
    return getattr(trace, "mode", "") != "text" and any(each is not None for each in trace.x)


def _rows(figure: go.Figure, trace: Any) -> Iterator[dict[str, Any]]:
    titles = {f"{letter} axis": _title(figure, letter, trace) for letter in "xy"}
    common = {"series": trace.name or trace.legendgroup or "", **titles}
    if trace.type == "heatmap":
        left, top = trace.x0 or 0, trace.y0 or 0
        for y, row in enumerate(trace.z, top):
            for x, value in enumerate(row, left):
                if value is not None:
                    yield _row(common, x, y) | {"value": _number(value)}
        return
    for i, (x, y) in enumerate(zip(trace.x, trace.y, strict=True)):
        if x is not None and y is not None:
            yield _row(common, x, y) | _interval(trace, i, x, y) | _note(trace, i)


def _row(common: dict[str, str], x: Any, y: Any) -> dict[str, Any]:
    return {
        "series": common["series"], "x axis": common["x axis"], "x": _number(x), "y axis": common["y axis"], "y": _number(y),
    }  # fmt: skip


def _title(figure: go.Figure, letter: str, trace: Any) -> str:
    """The title of a trace's axis; subplots that share one have it on the last axis of that letter."""
    own = figure.layout[f"{letter}axis{(trace[f'{letter}axis'] or letter)[1:]}"]
    axes = figure.select_xaxes() if letter == "x" else figure.select_yaxes()
    return own.title.text or next((axis.title.text for axis in reversed(list(axes)) if axis.title.text), "")


def _interval(trace: Any, i: int, x: float, y: float) -> dict[str, float]:
    """Ends of the error bar of a point."""
    for name, centre in (("error_x", x), ("error_y", y)):
        bar = getattr(trace, name, None)
        if bar is not None and bar.array is not None and bar.array[i] is not None:
            return {"low": centre - (bar.arrayminus[i] or 0), "high": centre + bar.array[i]}
    return {}


def _note(trace: Any, i: int) -> dict[str, str]:
    """The sentence of a point, where it has one, without markup."""
    words = trace.customdata[i][-1] if trace.customdata is not None else None
    if not isinstance(words, str):
        return {}
    lines = words.split("<br><i>")[0].replace("<br>", "; ")
    return {"note": html.unescape(re.sub(r"<[^>]+>", "", lines)).strip()}


def _number(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
