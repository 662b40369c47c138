"""Heat maps over all spans of consecutive blocks; the similarity page reaches them through `charts.redundancy.similarity`."""

from collections.abc import Iterable, Sequence

import numpy as np
import plotly.graph_objects as go

from charts import cells, style
from plans.plan import Plan
from probes.redundancy.similarity import SimilarityResult

MEASURES = {
    "angular": "angular distance",
    "angular_last": "angular distance, last token",
    "cosine": "cosine",
}


def states(
    result: SimilarityResult,
    plan: Plan,
    measure: str = "angular",
    first: bool = True,
    lengths: Sequence[int] | None = None,
) -> go.Figure:
    """How far the stream moves between any two layers: state before by state after.

    Parameters
    ----------
    result : SimilarityResult
    plan : Plan
        Its runs of blocks are outlined.
    measure : {"angular", "cosine", "angular_last"}
    first : bool
        Whether position 0 counts; of the last token alone it never does.
    lengths : sequence of int, optional
        Lengths whose best span is marked; without them the powers of two.

    Returns
    -------
    Figure
        The first ``customdata`` of a cell is its span as a plan, ``b21-28``.
    """
    values = _matrix(result, measure, first)
    lengths = lengths or [2**i for i in range(result.layers.bit_length()) if 2**i < result.layers] or [1]
    best = [_best(values, length, measure) for length in lengths]
    before, after = np.triu_indices(result.layers + 1, 1)
    pairs = list(zip(before.tolist(), after.tolist(), strict=True))
    shown = np.full_like(values, np.nan)
    shown[before, after] = values[before, after]
    word = "cosine" if measure == "cosine" else "distance"
    figure = go.Figure()
    _cells(figure, shown, style.capital(MEASURES[measure]), measure == "cosine", style.NEAR_TO_FAR)
    _guides(figure, plan)
    places = [(stop, start) for start, stop in pairs]
    _targets(figure, places, pairs, plan, result.layers, [f"{word} {style.number(values[pair])}" for pair in pairs])
    dropped = [(stop, start) for start, stop in style.runs(plan)]
    _marks(figure, [(stop, start) for start, stop in best], dropped, result.layers)
    across, down = (0.5, result.layers + 0.5), (result.layers - 0.5, -0.5)
    axes = ("to the input of layer", across), ("from the input of layer", down)
    return cells.layers_by_layers(figure, result.layers, *axes, f"states-{measure}", _least(values, measure))


def spans(
    result: SimilarityResult, plan: Plan, rowwise: bool = True, measure: str = "angular", first: bool = True
) -> go.Figure:
    """Which span to drop, for every length: start layer by number of layers dropped (arXiv 2403.17887, figure 4).

    Parameters
    ----------
    result : SimilarityResult
    plan : Plan
        Its runs of blocks are marked.
    rowwise : bool
        Whether each length is stretched to 0 (its best start) to 1 (its worst), as in the paper.
    measure, first
        As in `states`.

    Returns
    -------
    Figure
        The best start of each length is marked; cells carry plans as in `states`.
    """
    values, layers = _matrix(result, measure, first), result.layers
    shown = np.full((layers, layers), np.nan)
    for length in range(1, layers + 1):
        row = np.diagonal(values, length)
        shown[length - 1, : len(row)] = _stretched(row, measure) if rowwise else row
    best = {length: _best(values, length, measure) for length in range(1, layers + 1)}
    pairs = [(start, start + length) for length in best for start in range(layers - length + 1)]
    word = "cosine" if measure == "cosine" else "distance"
    texts = [
        f"{word} {style.number(values[start, stop])}; best span of this length: {style.number(values[best[stop - start]])}"
        for start, stop in pairs
    ]
    title = "Distance, rescaled in each row (0: best, 1: worst)" if rowwise else style.capital(MEASURES[measure])
    figure = go.Figure()
    # Starting at the embeddings is far worse than anywhere else; squared steps keep the rest of the row apart.
    scale = [((i / (len(style.NEAR_TO_FAR) - 1)) ** 2, colour) for i, colour in enumerate(style.NEAR_TO_FAR)]
    _cells(figure, shown, title, measure == "cosine" and not rowwise, scale if rowwise else style.NEAR_TO_FAR, y0=1)
    _targets(figure, _by_length(pairs), pairs, plan, layers, texts)
    _marks(figure, _by_length(best.values()), _by_length(style.runs(plan)), layers)
    axes = ("first layer dropped", (-0.5, layers - 0.5)), ("number of layers dropped", (0.5, layers + 0.5))
    return cells.layers_by_layers(figure, layers, *axes, f"spans-{measure}-{rowwise}", _least(values, measure))


def _by_length(pairs: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    return [(start, stop - start) for start, stop in pairs]


def _matrix(result: SimilarityResult, measure: str, first: bool) -> np.ndarray:
    if measure not in MEASURES:
        raise ValueError(f"There is no measure '{measure}' of states; choose one of {', '.join(MEASURES)}.")
    means = result if first or measure == "angular_last" else result.without_first
    return np.asarray(getattr(means, measure))


def _best(values: np.ndarray, length: int, measure: str) -> tuple[int, int]:
    """Start and stop of the most redundant span of a length."""
    row = np.diagonal(values, length)
    start = int(row.argmax() if measure == "cosine" else row.argmin())
    return start, start + length


def _stretched(row: np.ndarray, measure: str) -> np.ndarray:
    """0 for the best of a row and 1 for its worst; a row of equals is all best."""
    cost = -row if measure == "cosine" else row
    return (cost - cost.min()) / (np.ptp(cost) or 1.0)


def _cells(figure: go.Figure, shown: np.ndarray, title: str, reverse: bool, scale: list, y0: int = 0) -> None:
    gap = 0.5 if len(shown) < 60 else 0
    low, high = float(np.nanmin(shown)), float(np.nanmax(shown))
    figure.add_heatmap(
        z=[[style.rounded(value) for value in row] for row in shown],
        y0=y0,
        colorscale=scale,
        reversescale=reverse,
        zmin=low,
        zmax=high if high > low else low + 1,  # a single cell has no range of its own
        hoverinfo="skip",
        xgap=gap,
        ygap=gap,
        colorbar=cells.colour_bar(title, 300, nticks=5, yanchor="bottom"),
    )


def _targets(
    figure: go.Figure,
    places: list[tuple[int, int]],
    pairs: list[tuple[int, int]],
    plan: Plan,
    layers: int,
    texts: list[str],
) -> None:
    """What a click on a cell hands over: its span as a plan, and its hover text."""
    ends = [f"the input of layer {stop}" if stop < layers else "the output of the last layer" for _, stop in pairs]
    dropped = style.dropped_layers(plan, "block")
    customdata = [
        [
            style.blocks(start, stop),
            f"From the input of layer {start} to {end}: {text}<br>"
            f"dropping this span removes <b>{style.span(start, stop)}</b><br>"
            + style.invitation(dropped.issuperset(range(start, stop))),
        ]
        for (start, stop), end, text in zip(pairs, ends, texts, strict=True)
    ]
    x, y = zip(*places, strict=True)
    figure.add_trace(cells.targets(x, y, customdata))


def _guides(figure: go.Figure, plan: Plan) -> None:
    """From each dropped run to the diagonal: the spans inside it."""
    for start, stop in style.runs(plan):
        line = {"color": style.DROP, "width": 2}
        x, y = [start + 0.5, stop + 0.5, stop + 0.5], [start - 0.5, start - 0.5, stop - 0.5]
        figure.add_scatter(x=x, y=y, mode="lines", line=line, hoverinfo="skip", showlegend=False)


def _marks(figure: go.Figure, best: list[tuple[int, int]], dropped: list[tuple[int, int]], layers: int) -> None:
    """Squares on the best spans, crosses on the plan's: above the targets, but not in the way of the mouse."""
    size = max(4, min(7, 0.5 * cells.side(layers) / layers))
    square = cells.square(size, size / 5)
    cross = {"symbol": "x", "size": 10, "color": style.DROP, "line": {"color": "#FFFFFF", "width": 1.5}}
    for name, places, look in (("best of its length", best, square), (style.DROPPED, dropped, cross)):
        if places:
            x, y = zip(*places, strict=True)
            figure.add_scatter(x=x, y=y, mode="markers", marker=look, name=name, hoverinfo="skip", **style.UNFADED)


def _least(values: np.ndarray, measure: str) -> str:
    """The best span of a quarter of the layers, in words."""
    length = max(1, (len(values) - 1) // 4)
    start, stop = _best(values, length, measure)
    many = f"spans of {length} layers" if length > 1 else "single layers"
    return f"Of all {many}, {style.span(start, stop)} changes least: {MEASURES[measure]} {style.number(values[start, stop])}"
