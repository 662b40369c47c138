"""What attention to few keys, chosen in few dimensions, does to predictions: over the grid, beside baselines, by layer."""

import numpy as np
import plotly.graph_objects as go

from charts import cells, scales, style
from probes.keys.low_rank_attention import LowRankResult

MEASURES = ("perplexity", "kl")
_CELL = 72  # pixels that a cell of the grid is high
_CLOSE = 1.1  # times the dense perplexity
# Name, colour, dash and marker of the ways to choose keys that take their share of the keys.
_WAYS = {
    "exact": ("exact scores", style.ATTENTION, "dot", "diamond"),
    "last": ("most recent keys", style.MLP, "dash", "square"),
    "random": ("random keys", style.MUTED, "dash", "x"),
}


def percent(share: float) -> str:
    """``0.125`` → ``12.5 %``."""
    return f"{100 * share:.4g} %"


def grid(result: LowRankResult, chosen: tuple[float, float] | None = None, measure: str = "perplexity") -> go.Figure:
    """Perplexity or KL over shares of dimensions, fewer downwards, and of keys, fewer to the right.

    Parameters
    ----------
    chosen : (dims, top), optional
        This cell is framed, if it is on the grid.
    measure : {"perplexity", "kl"}

    Returns
    -------
    Figure
        The ``customdata`` of a cell is its share of dimensions, its share of keys and a sentence. Cells that no other one
        beats in both estimated cost and perplexity have a square in their corner.
    """
    if measure not in MEASURES:
        raise ValueError(f"There is no measure '{measure}' of damage; choose one of {', '.join(MEASURES)}.")
    rows, columns = _falling(result.dims), _falling(result.top)
    values = np.asarray(getattr(result, measure))[np.ix_(rows, columns)]
    figure = go.Figure()
    _cells(figure, values, result.cost[np.ix_(rows, columns)])
    places = [(y, x, i, j) for y, i in enumerate(rows) for x, j in enumerate(columns)]
    customdata = [[result.dims[i], result.top[j], _sentence(result, i, j)] for *_, i, j in places]
    figure.add_trace(cells.targets([x for _, x, *_ in places], [y for y, *_ in places], customdata))
    _mark_front(figure, [(y, x) for y, x, i, j in places if [i, j] in result.front])
    for y, x, i, j in places:
        if (result.dims[i], result.top[j]) == chosen:
            cells.frame_cell(figure, x, y, width=3)
    down, across = (
        {"tickvals": list(range(len(order))), "ticktext": [percent(each[i]) for i in order], "tickmode": "array"}
        for order, each in ((rows, result.dims), (columns, result.top))
    )
    ends = [-0.5, len(columns) - 0.5], [len(rows) - 0.5, -0.5]
    figure.update_xaxes(style.axis("keys attended to, k_f", showgrid=False, range=ends[0], **across))
    figure.update_yaxes(style.axis("dimensions scored, d_f", showgrid=False, range=ends[1], **down))
    return style.frame(figure, _height(result), f"grid-{measure}", finding=_cheapest(result), hoverdistance=-1)


def _cheapest(result: LowRankResult) -> str:
    """The cheapest cell that is about as good as the dense model, in words."""
    good = np.argwhere(result.perplexity <= _CLOSE * result.dense_perplexity)
    if not len(good):
        return f"No cell keeps the perplexity within {100 * (_CLOSE - 1):.0f} % of the dense model’s"
    i, j = min(good.tolist(), key=lambda cell: result.cost[tuple(cell)])
    return (
        f"Cheapest within {100 * (_CLOSE - 1):.0f} % of the dense perplexity: {percent(result.top[j])} of the keys in "
        f"{percent(result.dims[i])} of the dimensions, cost {100 * result.cost[i, j]:.0f} %"
    )


def _falling(shares: list[float]) -> list[int]:
    """Places of shares, the largest first: a grid may have been asked for in any order."""
    return sorted(range(len(shares)), key=lambda i: -shares[i])


def _height(result: LowRankResult) -> int:
    return max(320, 110 + len(result.dims) * _CELL)


def _cells(figure: go.Figure, values: np.ndarray, cost: np.ndarray) -> None:
    """Colours by logarithm: the worst cells would drown the differences of all others; infinite ones count as the worst."""
    finite = values[np.isfinite(values)]
    shown = np.log10(np.clip(values, 1e-9, finite.max(initial=1e-9)))
    low, high = float(shown.min()), float(shown.max())
    low, high = low, high if high > low else low + 1
    pairs = (zip(*row, strict=True) for row in zip(values.tolist(), cost.tolist(), strict=True))
    texts = [[f"<b>{style.number(value)}</b><br>cost {100 * share:.0f} %" for value, share in row] for row in pairs]
    figure.add_heatmap(
        z=[[style.rounded(value) for value in row] for row in shown],
        text=texts,
        colorscale=style.NEAR_TO_FAR,
        zmin=low,
        zmax=high,
        showscale=False,
        hoverinfo="skip",
        xgap=2,
        ygap=2,
    )
    figure.add_trace(cells.digits(shown, np.array(texts), low, high, 13))


def _sentence(result: LowRankResult, i: int, j: int) -> str:
    """The hover text of a cell."""
    ratio = result.perplexity[i, j] / result.dense_perplexity
    recall, mass, error = (float(result.overall[what][i, j]) for what in ("recall", "mass", "error"))
    return (
        f"<b>{percent(result.top[j])} of the keys, chosen in {percent(result.dims[i])} of the dimensions</b><br>"
        f"perplexity {style.number(result.perplexity[i, j], 4)}, {style.number(ratio)} times the dense model’s "
        f"({style.number(result.dense_perplexity, 4)})<br>KL {style.number(result.kl[i, j])} nats per token<br>"
        f"finds {100 * recall:.0f} % of the best keys and captures {100 * mass:.0f} % of the attention<br>"
        f"relative error of the output: {style.number(error, 2)}<br>"
        f"reads {100 * result.cost[i, j]:.4g} % of what dense attention reads, at most<br>"
        f"by the paper’s formula {100 * result.paper_cost[i, j]:.4g} %<br>"
        + ("no other cell is both cheaper and better<br>" if [i, j] in result.front else "")
        + "<i>click to choose</i>"
    )


def _mark_front(figure: go.Figure, places: list[tuple[int, int]]) -> None:
    """A square in the corner of each cell of the Pareto front."""
    figure.add_scatter(
        x=[x - 0.42 for _, x in places],
        y=[y - 0.36 for y, _ in places],
        mode="markers",
        marker=cells.square(9, 2),
        name="Pareto front: no other cell is cheaper and better",
        hoverinfo="skip",
        **style.UNFADED,
    )


def baselines(result: LowRankResult, dims: float) -> go.Figure:
    """Perplexity over the share of keys: chosen by low-rank scores, by exact ones, at random, or the most recent.

    Parameters
    ----------
    dims : float
        A share of dimensions of the grid, for the line of low-rank scores and that of attention by them alone.
    """
    i, order = result.dims.index(dims), _falling(result.top)[::-1]
    x, end = [100 * result.top[j] for j in order], 106 * max(result.top)
    figure = go.Figure()
    lines = [(f"low-rank scores in {percent(dims)}", style.BLOCK, "solid", "circle", result.perplexity[i])]
    lines += [(*_WAYS[way], found) for way, found in result.baseline_perplexity.items() if way in _WAYS]
    for name, colour, dash, symbol, found in lines:
        figure.add_scatter(
            x=x,
            y=[style.rounded(found[j]) for j in order],
            mode="lines+markers",
            line={"color": colour, "width": 2.5 if dash == "solid" else 2, "dash": dash},
            marker={"size": 8, "symbol": symbol},
            name=name,
            hovertemplate=f"{style.capital(name)}: <b>%{{y:.4~g}}</b><extra></extra>",
        )
    flat = [("dense", result.dense_perplexity, style.LINE, "solid")]
    if "pca" in result.baseline_perplexity:
        flat.append(("low-rank scores as attention", result.baseline_perplexity["pca"][i], style.DROP, "dashdot"))
    for name, value, colour, dash in flat:
        line, name = {"color": colour, "width": 1.5, "dash": dash}, f"{name}: {style.number(value, 4)}"
        figure.add_scatter(x=[0, end], y=[style.rounded(value)] * 2, mode="lines", line=line, name=name, hoverinfo="skip")
    least = order[0]
    said = [f"{name} {style.number(found[least], 4)}" for name, *_, found in lines]
    finding = f"Perplexity with {percent(result.top[least])} of the keys: {', '.join(said)}"
    figure.update_xaxes(style.axis("keys attended to (%)", range=[0, end], nticks=8, showgrid=False))
    figure.update_yaxes(style.axis("perplexity", **scales.log_axis([value for *_, found in lines for value in found])))
    return style.frame(figure, _height(result) + 60, f"baselines-{dims}", finding=finding, hovermode="x unified")


def by_layer(result: LowRankResult, dims: float, top: float) -> go.Figure:
    """Recall, attention captured and error of the output, layer by layer, for one cell of the grid.

    Parameters
    ----------
    dims, top : float
        Shares of the grid.
    """
    i, j = result.dims.index(dims), result.top.index(top)
    lines = [
        ("recall of the best keys", result.recall[:, i, j], style.ATTENTION, "solid"),
        ("attention captured", result.mass[:, i, j], style.BLOCK, "solid"),
        ("attention on the best keys", result.mass_exact[:, j], style.BLOCK, "dot"),
        ("relative error of the output", result.error[:, i, j], style.DROP, "dash"),
    ]
    figure = go.Figure()
    for name, values, colour, dash in lines:
        jaccard = result.jaccard[:, i, j].tolist()
        figure.add_scatter(
            x=result.layers,
            y=[style.rounded(value) for value in values],
            mode="lines+markers" if dash == "solid" else "lines",
            line={"color": colour, "width": 2, "dash": dash},
            marker={"size": 5},
            name=name,
            customdata=[
                [style.number(value), style.number(each)] for value, each in zip(values.tolist(), jaccard, strict=True)
            ],
            hovertemplate=f"{style.capital(name)}: <b>%{{customdata[0]}}</b>"
            + (" (Jaccard %{customdata[1]})" if name.startswith("recall") else "")
            + "<extra></extra>",
        )
    last, recall = max(result.layers, default=0), result.recall[:, i, j]
    worst = int(recall.argmin()) if len(recall) else -1
    finding = (
        f"Fewest of the best keys are found in layer {result.layers[worst]}: {100 * recall[worst]:.0f} %" if len(recall) else ""
    )
    figure.update_xaxes(scales.layer_axis(last + 1, "layer", range=[-0.5, last + 0.5]))
    highest = max(1.0, float(result.error[:, i, j].max(initial=0)))
    figure.update_yaxes(style.axis("share (1 = all)", range=[0, 1.05 * highest], nticks=6))
    return style.frame(figure, 340, f"by-layer-{dims}-{top}", finding=finding, hovermode="x unified")
