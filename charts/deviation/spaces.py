"""The three spaces of a model as rows of one picture: hidden states, logits, probabilities, and below them KL.

The three upper rows share one logarithmic axis of 1 − cosine, so that what is small in one space and large in the next is
seen at once. Everything on the deviation pages that goes along depth, layers or steps is drawn with this.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from charts import scales, style

# Up to four plans in one picture: told apart by every eye, by marks and dashes in print, and none is the colour of a part.
PLANS = ("#CC1FA9", "#5C9917", "#805F53", "#7D26FF")
SYMBOLS = ("circle", "square", "diamond", "triangle-up")
SIGNS = "●■◆▲"  # the same in text
DASHES = ("solid", "dash", "dashdot", "longdash")
_GUESS = "dot"  # of estimates
SPACES = {"h": "hidden states h", "z": "logits z", "p": "probabilities p", "kl": "KL(dense‖pruned)"}
SMALLEST = 1e-9  # below this a cosine of float32 states is rounding, and a logarithm of it a cliff
_DEEPEST = 1e-6  # where the axis ends at the latest, however small the values are
_ROW = 140  # pixels
_DECADES = 5  # labelled on a logarithmic axis
_EMPTY = 0.25  # of an axis, from which on it is cut off at the left


@dataclass(frozen=True)
class Curve:
    """One line per space.

    Attributes
    ----------
    name, colour, symbol, dash : str
    x : sequence of int
    values, estimates, low, high : dicts by space of float arrays as long as ``x``
        ``h``, ``z``, ``p``: 1 − cosine; ``kl``: nats. NaN where there is nothing. Only ``values`` must be there.
    notes : sequence of str
        What the hover text says of each x besides the number: escaped HTML.
    marked : sequence of str
        A colour for each x that gets a larger mark, else an empty text; empty for none at all.
    """

    name: str
    colour: str
    symbol: str
    x: Sequence[int]
    values: dict[str, np.ndarray]
    estimates: dict[str, np.ndarray] = field(default_factory=dict)
    low: dict[str, np.ndarray] = field(default_factory=dict)
    high: dict[str, np.ndarray] = field(default_factory=dict)
    notes: Sequence[str] = ()
    marked: Sequence[str] = ()
    dash: str = "solid"


def rows(
    columns: dict[str, Sequence[Curve]], titles: Sequence[str], revision: str, band: str = "", finding: str = ""
) -> go.Figure:
    """Rows h, z, p and KL, a column of curves each.

    Parameters
    ----------
    columns : dict of str to sequences of Curve
        By heading; an empty heading is not drawn.
    titles : sequence of str
        Of the x axis of each column.
    revision : str
        See `style.frame`.
    band : str
        What the pale areas show, for the legend; empty where there are none.

    Returns
    -------
    Figure
        The first three rows share one logarithmic axis of 1 − cosine; KL has its own. Estimates are dotted.
    """
    count, width = len(SPACES), len(columns)
    heads = [f"<b>{style.capital(name)}</b>" if i == 0 else "" for name in SPACES.values() for i in range(width)]
    figure = make_subplots(
        count, width, shared_xaxes=True, shared_yaxes=True, horizontal_spacing=0.05, vertical_spacing=0.06,
        subplot_titles=heads,
    )  # fmt: skip
    everything = [curve for curves in columns.values() for curve in curves]
    for column, curves in enumerate(columns.values(), 1):
        for row, space in enumerate(SPACES, 1):
            for curve in curves:
                _draw(figure, curve, space, row, column)
    _legend(figure, everything, band)
    _axes(figure, everything, titles)
    figure.update_annotations(x=0, xanchor="left", yshift=1, font={"size": 13})
    for column, name in enumerate(columns, 1):
        _heading(figure, name, column)
    above = 50 if any(columns) else 24
    # In mode "x" the labels of four plans would cover the picture.
    return style.frame(figure, above + 110 + count * _ROW, revision, above, finding, hoverdistance=40)


def rounded(values: np.ndarray, floor: float = SMALLEST) -> list[float | None]:
    """Five digits; None where a logarithmic axis has no place for it."""
    return [style.rounded(value) if value > floor else None for value in np.asarray(values, float)]


def _draw(figure: go.Figure, curve: Curve, space: str, row: int, column: int) -> None:
    place, x = {"row": row, "col": column}, list(curve.x)
    common = {"legendgroup": curve.name, "showlegend": False}
    if space in curve.low:
        figure.add_trace(_band(curve, space), **place)
    values = np.asarray(curve.values[space], float)
    marks = {
        "size": [11 if each else 6 for each in curve.marked] or 6,
        "color": [each or curve.colour for each in curve.marked] or curve.colour,
        "symbol": curve.symbol,
    }
    figure.add_scatter(
        x=x, y=rounded(values), mode="lines+markers", marker=marks, name=curve.name,
        line={"color": curve.colour, "width": 2, "dash": curve.dash},
        customdata=[[text] for text in _hovers(curve, space, values)], hovertemplate="%{customdata[0]}<extra></extra>",
        **common, **place,
    )  # fmt: skip
    if space in curve.estimates:
        line = {"color": curve.colour, "width": 1.5, "dash": _GUESS}
        y = rounded(curve.estimates[space])
        figure.add_scatter(
            x=x, y=y, mode="lines", line=line, name=f"{curve.name}, estimate", hoverinfo="skip", **common, **place
        )


def _hovers(curve: Curve, space: str, values: np.ndarray) -> list[str]:
    notes = curve.notes or [""] * len(values)
    estimates = curve.estimates.get(space, np.full(len(values), np.nan))
    texts = []
    for value, estimate, note in zip(values, np.asarray(estimates, float), notes, strict=True):
        unit = f"KL {style.number(value)} nats" if space == "kl" else f"1 − cos({space}) = {style.number(value)}"
        guess = f" (estimate {style.number(estimate)})" if np.isfinite(estimate) else ""
        texts.append(f"<b>{curve.name}</b>: {unit}{guess}{'<br>' if note else ''}{note}")
    return texts


def _band(curve: Curve, space: str) -> go.Scatter:
    """A pale area between two quantiles; where one of them is 0 it reaches down to the end of the axis."""
    low, high = (np.asarray(each[space], float) for each in (curve.low, curve.high))
    kept = [i for i in range(len(low)) if np.isfinite(high[i]) and high[i] > SMALLEST]
    x = [curve.x[i] for i in kept]
    up = rounded(high[kept]) if kept else []
    down = rounded(np.maximum(low[kept], 2 * SMALLEST)) if kept else []
    return go.Scatter(
        x=[*x, *x[::-1]], y=[*down, *up[::-1]], mode="lines", line={"width": 0}, fill="toself", hoverinfo="skip",
        fillcolor=style.pale(curve.colour, 0.14), name=f"{curve.name}, spread", legendgroup=curve.name, showlegend=False,
    )  # fmt: skip


def _legend(figure: go.Figure, curves: Sequence[Curve], band: str) -> None:
    for curve in {curve.name: curve for curve in curves}.values():
        look = {"mode": "lines+markers", "marker": {"symbol": curve.symbol, "size": 7}}
        look["line"] = {"color": curve.colour, "dash": curve.dash}
        figure.add_trace(style.legend_item(curve.name, legendgroup=curve.name, **look))
    if any(curve.estimates for curve in curves):
        figure.add_trace(style.legend_item("second-order estimate", mode="lines", line={"color": style.MUTED, "dash": _GUESS}))
    if band and any(curve.low for curve in curves):
        square = {"symbol": "square", "size": 11, "color": style.MUTED, "opacity": 0.35}
        figure.add_trace(style.legend_item(band, marker=square))


def _axes(figure: go.Figure, curves: Sequence[Curve], titles: Sequence[str]) -> None:
    first, start, last = _reach(curves)
    pad = 0.5 + 0.01 * (last - start)
    ticks = {"tickmode": "auto", "nticks": 10, "dtick": None} if first else {}  # steps count from 1: 5, 10, 15, …
    # Narrower columns have room for fewer numbers.
    count = (last - start + 1) * len(titles)
    figure.update_xaxes(scales.layer_axis(count, None, range=[start - pad, last + pad], **ticks))
    for column, title in enumerate(titles, 1):
        title = f"{title}<br>no change before {start + 1}" if start > first else title
        figure.update_xaxes(style.heading(title), row=len(SPACES), col=column)
    for row, space in enumerate(SPACES, 1):
        spaces = ("kl",) if space == "kl" else ("h", "z", "p")
        title = "nats" if space == "kl" else f"1 − cos({space})"
        low, high = _range(curves, spaces)
        scale = {"type": "log", "range": [low, high], "exponentformat": "power"}
        scale["dtick"] = math.ceil((high - low) / _DECADES) if high - low > 1.6 else "D2"
        figure.update_yaxes(style.axis(None, **scale), row=row)
        figure.update_yaxes(style.heading(title), row=row, col=1)


def _reach(curves: Sequence[Curve]) -> tuple[int, int, int]:
    """First and last x, and between them where to start drawing: where a plan changes nothing at first, soon before it does."""
    first = min((min(curve.x) for curve in curves), default=0)
    last = max((max(curve.x) for curve in curves), default=0)
    moved = [
        place for curve in curves for values in curve.values.values()
        for place, value in zip(curve.x, values, strict=True) if value > SMALLEST
    ]  # fmt: skip
    start = min(moved, default=first) - 1
    return first, start if start - first > _EMPTY * (last - first) else first, last


def _range(curves: Sequence[Curve], spaces: Sequence[str]) -> list[float]:
    """Ends of a logarithmic axis, as powers of ten: all values, but no deeper than is worth seeing."""
    kinds = [each for curve in curves for each in (curve.values, curve.high)]
    found = np.concatenate([np.asarray(each[space], float) for each in kinds for space in spaces if space in each] or [[]])
    found = found[np.isfinite(found) & (found > SMALLEST)]
    if not len(found):
        return [-6.0, 0.0]
    high = float(np.log10(found.max() * 1.5))
    low = float(np.log10(max(found.min() / 1.5, _DEEPEST)))
    return [min(low, high - 1), high]


def _heading(figure: go.Figure, name: str, column: int) -> None:
    """The heading of a column, above its first row."""
    if not name:
        return
    axis = figure.get_subplot(1, column).xaxis
    left = axis.domain[0]
    figure.add_annotation(
        text=f"<b>{name}</b>", x=left, xanchor="left", xref="paper", y=1, yanchor="bottom", yref="paper", yshift=22,
        showarrow=False, font={"size": 14},
    )  # fmt: skip
