"""One HTML file from titles, figures, tables and texts: it draws without a network, from a mail or a folder."""

import html
import math
from collections.abc import Iterable, Mapping
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from charts import style

# The file says itself that it loads nothing: no address is open to it, and what it runs stands in it.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:"
_STYLE = """
:root {color-scheme: light}
body {font: 15px/1.5 system-ui, sans-serif; color: #1f2430; max-width: 1100px; margin: 2rem auto; padding: 0 1rem}
h1 {font-size: 1.7rem} h2 {font-size: 1.3rem; margin-top: 2.5rem; border-top: 1px solid #d8dbe2; padding-top: 1rem}
h3 {font-size: 1rem; margin: 1.5rem 0 .3rem}
table {border-collapse: collapse; font-size: .85rem; display: block; overflow-x: auto; max-width: 100%}
th, td {text-align: left; padding: .2rem .8rem .2rem 0; border-bottom: 1px solid #e6e8ee; vertical-align: top}
th {font-weight: 600} td.number {text-align: right; font-variant-numeric: tabular-nums}
.plotly-graph-div {margin-bottom: 24px} .modebar-container {top: 100% !important; height: 0 !important}
.sides {display: flex; gap: 1.5rem} .sides > div {flex: 1; min-width: 0}
.quiet {color: #5b6270; font-size: .85rem; overflow-wrap: anywhere} summary {cursor: pointer}
"""


def document(title: str, parts: Iterable[str]) -> str:
    """The whole file; plotly.js stands in it once, which makes it about 5 MB."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{_STYLE}</style>\n'
        f"<script>{get_plotlyjs()}</script></head>\n<body>\n<h1>{html.escape(title)}</h1>\n{chr(10).join(parts)}\n</body></html>\n"
    )


def heading(text: str, level: int = 2) -> str:
    """A heading; level 2 begins an answer."""
    return f"<h{level}>{html.escape(text)}</h{level}>"


def paragraph(text: str, quiet: bool = False) -> str:
    """A paragraph of plain text."""
    return f"<p{' class=quiet' if quiet else ''}>{html.escape(text)}</p>"


def shown(title: str, part: go.Figure | list[dict] | str) -> str:
    """A titled figure, table, or HTML that is one already."""
    if isinstance(part, go.Figure):
        part = figure(part)
    elif isinstance(part, list):
        part = table(part) if part else paragraph("None.", quiet=True)
    return f"{heading(title, 3)}{part}"


def figure(made: go.Figure) -> str:
    """A figure as a div and a script that draws it; texts in it cannot end the script."""
    config = {"displaylogo": False, "responsive": True, "scrollZoom": False}
    drawn = made.to_html(full_html=False, include_plotlyjs=False, config=config)
    widest = style.widest(made)
    return f'<div style="max-width: {widest}px">{drawn}</div>' if widest else drawn


def table(rows: list[dict]) -> str:
    """Rows as a table; columns are those of all rows, in the order in which they come."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    head = "".join(f"<th>{html.escape(str(name))}</th>" for name in columns)
    body = "".join(f"<tr>{''.join(_cell(row.get(name)) for name in columns)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def pairs(values: Mapping[str, Any]) -> str:
    """Names and values as a table of two columns."""
    body = "".join(f"<tr><th>{html.escape(name)}</th>{_cell(value)}</tr>" for name, value in values.items())
    return f"<table><tbody>{body}</tbody></table>"


def folded(title: str, part: str) -> str:
    """A part that a click opens."""
    return f"<details><summary class=quiet>{html.escape(title)}</summary>{part}</details>"


def _cell(value: Any) -> str:
    if isinstance(value, bool) or value is None or not isinstance(value, int | float):
        return f"<td>{html.escape('' if value is None else str(value))}</td>"
    text = f"{value:,}" if isinstance(value, int) else style.number(value, 4) if math.isfinite(value) else "–"
    return f'<td class="number">{text}</td>'
