"""What heat maps share: a colour bar, cells that answer to the mouse, a frame around one, marks on others."""

import math
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from charts import scales, style
from charts.colours import between, ink

_SIDE, _LONGEST = 520, 760  # pixels of a map of layers by layers
_BAR = 62  # pixels of a colour bar with its labels and title
_CELL = 6  # pixels that a layer gets as long as there is room
_WHITE, _INK = "#FFFFFF", "#14171F"  # seen on every colour of a map


def colour_bar(title: str, length: int, **rest: object) -> dict:
    """A flat bar, ``length`` pixels long, with its title above."""
    common = {"orientation": "h", "title": {"text": title, "side": "top"}, "thickness": 10, "outlinewidth": 0}
    return common | {"lenmode": "pixels", "len": length, "x": 0, "xanchor": "left", "y": 1} | rest


def targets(x: Sequence[float], y: Sequence[float], customdata: Sequence[Sequence]) -> go.Scatter:
    """Places that answer to the mouse: a click on a heat map itself does not reach Python.

    They are texts without letters: nothing is drawn, and the nearest place answers, which is the one of the cell under the
    mouse. Of markers that are larger than their cells, plotly would take any.

    Parameters
    ----------
    x, y : sequences as long as there are cells
    customdata : sequence of sequences
        What a click hands over; the last element is the hover text.
    """
    template = f"%{{customdata[{len(customdata[0]) - 1}]}}<extra></extra>"
    return go.Scatter(x=x, y=y, mode="text", customdata=customdata, hovertemplate=template, showlegend=False)


def side(layers: int) -> int:
    """How wide and high a map of layers by layers is where there is room, in pixels."""
    return max(_SIDE, min(_LONGEST, _CELL * layers))


def layers_by_layers(
    figure: go.Figure, layers: int, across: tuple[str, tuple], down: tuple[str, tuple], revision: str, finding: str
) -> go.Figure:
    """The layout of a map of layers by layers, in place: as high as wide, and narrower where the page is.

    Parameters
    ----------
    across, down : (str, (float, float))
        Title and range of the axes.
    revision, finding : str
        As in `style.frame`.
    """
    figure.update_xaxes(scales.layer_axis(layers, across[0], range=across[1], automargin=False, title_standoff=16))
    figure.update_yaxes(scales.layer_axis(layers, down[0], range=down[1], automargin=False))
    margin, pixels = {"l": 64, "r": 8, "t": 26, "b": 64}, side(layers)
    widest, reach = pixels + 72, pixels / layers  # a cell answers up to its corners, and nothing beyond its neighbours
    height = pixels + _BAR + margin["t"] + margin["b"]
    return style.frame(
        figure, height, revision, _BAR, finding, widest, margin=margin, hoverdistance=math.ceil(reach)
    )  # fmt: skip


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
