"""What heat maps share: a colour bar, cells that answer to the mouse, a frame around one, marks on others."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from charts import style
from charts.colours import between, ink

UNSEEN = 0.01  # opacity: none at all would not answer to the mouse
_UNSEEN = {"marker": {"opacity": UNSEEN}}
_WHITE, _INK = "#FFFFFF", "#14171F"  # seen on every colour of a map


def colour_bar(title: str, length: int, **rest: object) -> dict:
    """A flat bar, ``length`` pixels long, with its title above."""
    common = {"orientation": "h", "title": {"text": title, "side": "top"}, "thickness": 10, "outlinewidth": 0}
    return common | {"lenmode": "pixels", "len": length, "x": 0, "xanchor": "left", "y": 1} | rest


def targets(x: Sequence[float], y: Sequence[float], customdata: Sequence[Sequence], size: float = 6) -> go.Scatter:
    """Almost invisible squares on the cells: a click on a heat map itself does not reach Python.

    Parameters
    ----------
    x, y : sequences as long as there are cells
    customdata : sequence of sequences
        What a click hands over; the last element is the hover text.
    size : float
        Pixels.
    """
    return go.Scatter(
        x=x,
        y=y,
        mode="markers",
        marker={"symbol": "square", "size": size, "opacity": UNSEEN, "color": style.MUTED},
        customdata=customdata,
        hovertemplate=f"%{{customdata[{len(customdata[0]) - 1}]}}<extra></extra>",
        showlegend=False,
        selected=_UNSEEN,
        unselected=_UNSEEN,
    )


def digits(values: np.ndarray, texts: np.ndarray, low: float, high: float, size: int) -> go.Scatter:
    """Texts in the cells of a map of `style.NEAR_TO_FAR`, black or white, whichever stands out more.

    Parameters
    ----------
    values, texts : arrays of shape (rows, columns)
    low, high : float
        Where the colours begin and end.
    """
    rows, columns = np.indices(values.shape)
    colours = [ink(between(style.NEAR_TO_FAR, (value - low) / (high - low))) for value in values.ravel().tolist()]
    return go.Scatter(
        x=columns.ravel().tolist(), y=rows.ravel().tolist(), text=texts.ravel().tolist(), mode="text",
        textfont={"size": size, "color": colours}, hoverinfo="skip", showlegend=False,
    )  # fmt: skip


def frame_cell(figure: go.Figure, x: int, y: int, width: int = 2, **place: int) -> None:
    """A frame of ``width`` pixels around a cell, with a white edge; ``place`` is the row and column of a subplot."""
    ends = {"x0": x - 0.5, "x1": x + 0.5, "y0": y - 0.5, "y1": y + 0.5}
    for colour, size in ((_WHITE, width + 2), (style.DROP, width)):
        figure.add_shape(type="rect", line={"color": colour, "width": size}, **ends, **place)


def square(size: float, edge: float) -> dict:
    """The marker of a good cell."""
    return {"symbol": "square", "size": size, "color": _WHITE, "line": {"color": _INK, "width": edge}}
