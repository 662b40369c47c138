"""What heat maps share: a colour bar, cells that answer to the mouse, a frame around one, marks on others."""

from collections.abc import Sequence

import plotly.graph_objects as go

from charts import style

_UNSEEN = {"marker": {"opacity": 0.01}}
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
        marker={"symbol": "square", "size": size, "opacity": 0.01, "color": style.MUTED},
        customdata=customdata,
        hovertemplate=f"%{{customdata[{len(customdata[0]) - 1}]}}<extra></extra>",
        showlegend=False,
        selected=_UNSEEN,
        unselected=_UNSEEN,
    )


def frame_cell(figure: go.Figure, x: int, y: int, width: int = 2, **place: int) -> None:
    """A frame of ``width`` pixels around a cell, with a white edge; ``place`` is the row and column of a subplot."""
    ends = {"x0": x - 0.5, "x1": x + 0.5, "y0": y - 0.5, "y1": y + 0.5}
    for colour, size in ((_WHITE, width + 2), (style.DROP, width)):
        figure.add_shape(type="rect", line={"color": colour, "width": size}, **ends, **place)


def square(size: float, edge: float) -> dict:
    """The marker of a good cell."""
    return {"symbol": "square", "size": size, "color": _WHITE, "line": {"color": _INK, "width": edge}}
