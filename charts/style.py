"""What all charts share: a colour per part, axes, the look of what is dropped, numbers and spans in words.

Fonts and backgrounds are left to the theme of the page. The colours keep a contrast of 3 to 1 on white and on the dark
page, and are told apart with any colour blindness; the tests measure both.
"""

import html
import math
from collections.abc import Sequence

import pandas  # noqa: F401  plotly takes one that another thread is still importing for a whole one, and fails
import plotly.graph_objects as go

from charts.colours import rgb
from plans.drops import Drops, dropped
from plans.plan import Plan

ATTENTION, MLP, BLOCK = "#0E9C7C", "#D67410", "#6366F1"
DROP = "#E5484D"  # what a plan takes out, and what that costs
DROPPED = "dropped by the plan"
MUTED = "#848B98"
GRID = "rgba(132, 139, 152, 0.20)"
LINE = "rgba(132, 139, 152, 0.55)"

OTHERS = ("#C026D3", "#0284C7", "#A16207")  # of operations that drop nothing
COLOUR = {"attention": ATTENTION, "mlp": MLP, "block": BLOCK}
NAME = {"attention": "Attention", "mlp": "MLP", "block": "Block"}

# Even steps of lightness, for print and colour blindness; neither end drowns in white or in the dark page.
NEAR_TO_FAR = ["#BFE08A", "#7CC596", "#3DA79C", "#27829A", "#34598C", "#3E3470"]

_BELOW = 80  # pixels of a usual picture that are not plot: rows of the legend, labels and title of the axis


def frame(
    figure: go.Figure, height: int, revision: str, above: int = 0, finding: str = "", widest: int = 0, **layout: object
) -> go.Figure:
    """Give a figure the common layout, in place.

    Parameters
    ----------
    figure : Figure
    height : int
        Pixels.
    revision : str
        As long as this stays the same, zoom and hidden legend items survive a redraw.
    above : int
        Pixels below the legend for what stands on the plot, as headings of its parts.
    finding : str
        What the chart shows, in one sentence; `finding` reads it back.
    widest : int
        Pixels beyond which the chart does not grow, though there is room; 0: it takes all. `widest` reads it back.
    layout
        What this chart has otherwise.

    Returns
    -------
    Figure
        The same one.
    """
    # Anchored to the picture, and plotly keeps its rows free, however many they are. Anchored to the plot, it would lie over it
    # after a window gets narrower: it is drawn before the plot makes room.
    legend = {"orientation": "h", "x": 0, "xanchor": "left", "y": 1, "yanchor": "top", "yref": "container"}
    legend |= {"bgcolor": "rgba(0, 0, 0, 0)"}
    common = {
        "template": go.layout.Template(),  # an unset one would be plotly's own, with its colours
        "height": height,
        "uirevision": revision,
        "paper_bgcolor": "rgba(0, 0, 0, 0)",
        "plot_bgcolor": "rgba(0, 0, 0, 0)",
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "legend": legend,
        "hoverlabel": {"align": "left", "namelength": -1},
        "hovermode": "closest",
        # Its default is half of the paper, which is transparent black here: a grey box.
        "modebar": {"bgcolor": "rgba(0, 0, 0, 0)", "color": LINE, "activecolor": MUTED},
        "meta": {"finding": finding, "widest": widest},
    }
    figure.update_layout(common | layout)
    _lower(figure, 1 - above / (height - _BELOW))
    return figure


def _lower(figure: go.Figure, share: float) -> None:
    """Let the plots take so much of the height, and what stands on them come down with them."""
    for axis in figure.select_yaxes():
        axis.domain = [share * end for end in axis.domain or (0, 1)]
    for trace in figure.select_traces(selector={"type": "heatmap"}):
        if trace.colorbar.y is not None and trace.colorbar.yref != "container":
            trace.colorbar.y *= share
    for text in figure.select_annotations():
        if text.yref == "paper":
            text.y *= share


def finding(figure: go.Figure) -> str:
    """What a chart shows, in one sentence of plain text; it may be empty."""
    return (figure.layout.meta or {}).get("finding", "")


def widest(figure: go.Figure) -> int:
    """Pixels beyond which a chart does not grow; 0: it takes all the room."""
    return (figure.layout.meta or {}).get("widest", 0)


def axis(title: str | None = None, **rest: object) -> dict:
    """A quiet axis: thin grid, no zero line."""
    common = {
        "gridcolor": GRID,
        "gridwidth": 1,
        "zeroline": False,
        "showline": False,
        "ticks": "",
        "automargin": True,
    }
    return common | (heading(title) if title else {}) | rest


def heading(text: str, standoff: int = 10) -> dict:
    """The title of an axis, ``standoff`` pixels from its labels."""
    return {"title": {"text": text, "standoff": standoff}}


def dropped_layers(plan: Plan, kind: str) -> frozenset[int]:
    """Layers whose ``attention``, ``mlp`` or whole ``block`` a plan drops."""
    drops = dropped(plan)
    return {"attention": drops.no_attention, "mlp": drops.no_mlp, "block": drops.blocks}[kind]


def marker(colour: str, hatched: Sequence[bool]) -> dict:
    """Bars, some of them hatched instead of solid, so that they differ by more than colour."""
    return {
        "color": colour,
        "line": {"color": colour, "width": [1 if each else 0 for each in hatched]},
        "pattern": {
            "shape": ["/" if each else "" for each in hatched],
            "fillmode": "replace",
            "fgcolor": colour,
            "size": 5,
            "solidity": 0.25,
        },
    }


def legend_item(name: str, **look: object) -> go.Scatter:
    """An entry of the legend that stands for no trace."""
    look = {"mode": "markers"} | look
    return go.Scatter(x=[None], y=[None], name=name, hoverinfo="skip", showlegend=True, **look)


def dropped_item() -> go.Bar:
    """The legend entry of bars that a plan drops."""
    return go.Bar(x=[None], y=[None], name=DROPPED, marker=marker(MUTED, [True]), hoverinfo="skip")


# A click selects, and plotly then fades all other points: here nothing is faded, the plan shows what was chosen.
UNFADED = {"selected": {"marker": {"opacity": 1}}, "unselected": {"marker": {"opacity": 1}}}


def pale(colour: str, opacity: float) -> str:
    """A colour that lets through what is below it: ``"#E5484D"``, 0.5 → ``"rgba(229, 72, 77, 0.50)"``."""
    red, green, blue = rgb(colour)
    return f"rgba({red}, {green}, {blue}, {opacity:.2f})"


def rounded(value: float) -> float | None:
    """Five digits are enough for a pixel; None where there is no number to draw."""
    return float(f"{value:.5g}") if math.isfinite(value) else None


def number(value: float, digits: int = 3) -> str:
    """Three significant digits, as one writes them: ``0.0031``, ``12.4``, ``1,230,000``, ``4.20 × 10⁻⁷``, ``1.98 × 10⁹``."""
    if not math.isfinite(value):
        return {math.inf: "∞", -math.inf: "−∞"}.get(value, "unknown")
    if value == 0:
        return "0"
    power = math.floor(math.log10(abs(value)))
    if not -4 <= power <= 6:
        raised = str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
        return f"{value / 10**power:.{digits - 1}f} × 10{raised}".replace("-", "−")
    return f"{value:,.{max(0, digits - 1 - power)}f}".replace("-", "−")


def change(value: float, before: float) -> str:
    """How a positive number changed: ``+12.5%``, and from ten times on ``43 times``."""
    ratio = value / before
    return f"{ratio - 1:+.1%}" if ratio < 10 else f"{number(ratio, 2)} times"


def count(value: float) -> str:
    """A number of parameters: 884 thousand, 1.23 million, 7.24 billion."""
    for size, word in ((1e9, "billion"), (1e6, "million"), (1e3, "thousand")):
        if value >= size:
            return f"{number(value / size)} {word}"
    return f"{value:,.0f}"


def part(kind: str, layer: int) -> str:
    """``Attention of layer 25``, ``MLP of layer 3``, ``Block 7``."""
    return f"Block {layer}" if kind == "block" else f"{NAME[kind]} of layer {layer}"


def span(start: int, stop: int) -> str:
    """The layers from ``start`` to before ``stop``: ``layers 21–28 (8 layers)``."""
    return f"layer {start}" if stop - start == 1 else f"layers {start}–{stop - 1} ({stop - start} layers)"


def blocks(start: int, stop: int) -> str:
    """The same as the text of a plan: ``b21-28``."""
    return str(Drops(blocks=frozenset(range(start, stop))))


def runs(plan: Plan) -> list[tuple[int, int]]:
    """``(start, stop)`` of each unbroken run of dropped blocks."""
    found: list[tuple[int, int]] = []
    for i in sorted(dropped(plan).blocks):
        if found and found[-1][1] == i:
            found[-1] = (found[-1][0], i + 1)
        else:
            found.append((i, i + 1))
    return found


def plain(text: str) -> str:
    """Text of a token with whitespace made visible, and nothing that the browser would read as markup."""
    seen = text.replace("\n", "⏎").replace("\t", "⇥").replace("\r", "␍")
    return html.escape("".join(letter if letter.isprintable() else "�" for letter in seen), quote=False)


def shortened(text: str, letters: int = 14) -> str:
    """A text that fits beside a point or in a legend; one with an escaped letter stays whole, or it could be cut inside it."""
    return text if len(text) <= letters or "&" in text else text[: letters - 1] + "…"


def plan_name(plan: str) -> str:
    """A plan as a legend can hold it."""
    return shortened(plan or "dense", 32)


def invitation(dropped: bool) -> str:
    """The last line of a hover text: what a click does."""
    return "<i>dropped; click to put it back</i>" if dropped else "<i>click to drop</i>"


def capital(text: str) -> str:
    """The same with a capital first letter; the rest stays as it is."""
    return text[:1].upper() + text[1:]
