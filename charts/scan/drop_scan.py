"""What each drop costs by layer, with intervals, and what a skipped layer changes in later ones."""

import math

import numpy as np
import plotly.graph_objects as go

from charts import cells, scales, style
from plans.drops import LETTERS
from plans.plan import Plan
from probes.scan.drop_scan import DropScanResult

KINDS = tuple(LETTERS)
MEASURES = {
    "kl": ("KL", "KL(dense‖without it), nats per token"),
    "loss": ("change of the loss", "change of the loss, nats per token"),
    "agreement": ("agreement of the likeliest token", "tokens that keep their likeliest next token"),
}
_SYMBOL = {"attention": "circle", "mlp": "square", "block": "diamond"}


def damage(result: DropScanResult, plan: Plan, measure: str = "kl", log: bool = True) -> go.Figure:
    """One line per kind of drop over the layers, with 95 % intervals.

    Parameters
    ----------
    result : DropScanResult
    plan : Plan
        What it drops is crossed out.
    measure : {"kl", "loss", "agreement"}
    log : bool
        Logarithmic, of the KL only: the first and last layers cost a hundred times as much as those between.

    Returns
    -------
    Figure
        The first ``customdata`` of a point is its part of a plan, ``a25``, ``m3`` or ``b7``.
    """
    if measure not in MEASURES:
        raise ValueError(f"There is no measure '{measure}' of drops; choose one of {', '.join(MEASURES)}.")
    log = log and measure == "kl"
    figure = go.Figure()
    gone = {kind: style.dropped_layers(plan, kind) for kind in KINDS}
    for kind in KINDS:
        _line(figure, result, kind, measure, gone[kind], log)
    if any(gone.values()):
        figure.add_trace(style.legend_item(style.DROPPED, marker={"color": style.DROP, "symbol": "x", "size": 9}))
    figure.update_xaxes(scales.layer_axis(result.layers, range=[-0.6, result.layers - 0.4]))
    ends = (f"{measure}{end}" for end in ("", "_low", "_high"))
    values = [value for end in ends for kind in KINDS for value in getattr(getattr(result, kind), end)]
    scale = scales.log_axis(values) if log else {"nticks": 7}
    if measure == "agreement":
        scale |= {"tickformat": ".0%"}
    figure.update_yaxes(style.axis(MEASURES[measure][1], **scale))
    return style.frame(figure, 440, f"damage-{measure}-{log}", finding=_least(result, measure))


def _least(result: DropScanResult, measure: str) -> str:
    """The drop that costs least, in words."""
    sign = -1 if measure == "agreement" else 1
    costs = [(sign * value, kind, i) for kind in KINDS for i, value in enumerate(getattr(getattr(result, kind), measure))]
    value, kind, layer = min((cost for cost in costs if math.isfinite(cost[0])), default=(math.nan, "", -1))
    if not kind:
        return ""
    said = f"{sign * value:.1%} of tokens keep their likeliest next token" if measure == "agreement" else (
        f"{'KL' if measure == 'kl' else 'change of the loss'} {style.number(value)} nats per token")  # fmt: skip
    return f"{style.part(kind, layer)} costs least: {said}"


def _line(figure: go.Figure, result: DropScanResult, kind: str, measure: str, gone: frozenset[int], log: bool) -> None:
    part = getattr(result, kind)
    values, low, high = (np.array(getattr(part, f"{measure}{end}")) for end in ("", "_low", "_high"))
    layers = [i for i in range(result.layers) if math.isfinite(values[i])]
    if not layers:  # the plan that was scanned left none
        return
    dropped = [i in gone for i in layers]
    x, y = _whiskers(layers, low, high, log)
    figure.add_scatter(
        x=x, y=y, mode="lines", line={"color": style.pale(style.COLOUR[kind], 0.6), "width": 1.5},
        hoverinfo="skip", showlegend=False, legendgroup=kind,
    )  # fmt: skip
    figure.add_scatter(
        x=layers,
        y=[None if log and values[i] <= 0 else style.rounded(values[i]) for i in layers],
        mode="lines+markers",
        line={"color": style.COLOUR[kind], "width": 1.5},
        marker={
            "size": 9,
            "color": [style.DROP if each else style.COLOUR[kind] for each in dropped],
            "symbol": ["x" if each else _SYMBOL[kind] for each in dropped],
        },
        customdata=[_point(result, kind, i, each) for i, each in zip(layers, dropped, strict=True)],
        hovertemplate="%{customdata[1]}<extra></extra>",
        name=style.NAME[kind],
        legendgroup=kind,
        **style.UNFADED,
    )


def _whiskers(layers: list[int], low: np.ndarray, high: np.ndarray, log: bool) -> tuple[list, list]:
    """Vertical lines as one broken line; of a logarithmic axis only those that it can show."""
    shown = [i for i in layers if math.isfinite(low[i]) and not (log and low[i] <= 0)]
    x = [place for i in shown for place in (i, i, None)]
    return x, [value for i in shown for value in (style.rounded(low[i]), style.rounded(high[i]), None)]


def _point(result: DropScanResult, kind: str, layer: int, dropped: bool) -> list[str]:
    """Plan item and sentence of a point."""
    part = getattr(result, kind)
    low, high = part.kl_low[layer], part.kl_high[layer]
    interval = f" (95 %: {style.number(low)} to {style.number(high)})" if math.isfinite(low) else ""
    sign = "+" if part.loss[layer] >= 0 else ""
    text = (
        f"<b>{style.part(kind, layer)}</b> left out<br>KL {style.number(part.kl[layer])} nats per token{interval}<br>"
        f"loss {sign}{style.number(part.loss[layer])} nats per token<br>"
        f"{part.agreement[layer]:.1%} of tokens keep their likeliest next token<br>"
        f"1 − cosine {style.number(part.similarity[layer])}, first-order estimate {style.number(part.gradient[layer])} nats<br>"
    )
    return [f"{LETTERS[kind]}{layer}", text + style.invitation(dropped)]


def skips(result: DropScanResult, plan: Plan, mode: str = "future") -> go.Figure:
    """How much skipping one layer changes what each later layer adds to the stream: skipped by later layer.

    Parameters
    ----------
    result : DropScanResult
    plan : Plan
        Blocks that it drops are marked.
    mode : {"current", "future"}
        On the tokens that skip the layer, or on those after them.

    Returns
    -------
    Figure
        The first ``customdata`` of a cell is the skipped block as a plan, ``b7``.
    """
    effects, layers = getattr(result, f"skip_{mode}"), result.layers
    places = [(s, later) for s in range(layers) for later in range(s, layers) if math.isfinite(effects[s, later])]
    if not places:
        raise ValueError("These skip effects were not measured, so they cannot be drawn.")
    top = float(np.nanmax(effects))
    gap = 0.5 if layers < 60 else 0
    figure = go.Figure()
    figure.add_heatmap(
        # Effects above 1 replace more than all that a layer adds; there the colours end.
        z=[[style.rounded(value) for value in row] for row in effects],
        colorscale=style.NEAR_TO_FAR, zmin=0, zmax=min(1.0, top) or 1.0, hoverinfo="skip", xgap=gap, ygap=gap,
        colorbar=cells.colour_bar("Relative change (1 or more: all of it)", 300, nticks=5, yanchor="bottom"),
    )  # fmt: skip
    dropped = style.dropped_layers(plan, "block")
    figure.add_trace(
        cells.targets(
            [later for _, later in places],
            [s for s, _ in places],
            [_cell(effects, s, later, mode, s in dropped) for s, later in places],
        )
    )
    if shown := [s for s in sorted(dropped) if math.isfinite(effects[s, s])]:
        cross = {"symbol": "x", "size": 10, "color": style.DROP, "line": {"color": "#FFFFFF", "width": 1.5}}
        figure.add_scatter(x=shown, y=shown, mode="markers", marker=cross, name=style.DROPPED, hoverinfo="skip")
    axes = ("later layer", (-0.5, layers - 0.5)), ("skipped layer", (layers - 0.5, -0.5))
    return cells.layers_by_layers(figure, layers, *axes, f"skips-{mode}", _most(effects))


def _most(effects: np.ndarray) -> str:
    """The layer without which later ones change most, in words."""
    later = {s: row[s + 1 :][np.isfinite(row[s + 1 :])] for s, row in enumerate(effects)}
    means = {s: float(row.mean()) for s, row in later.items() if len(row)}
    if not means:
        return ""
    most = max(means, key=means.get)
    return f"Skipping layer {most} changes later layers most: by {style.number(means[most])} of what they add, on average"


def _cell(effects: np.ndarray, skipped: int, later: int, mode: str, dropped: bool) -> list[str]:
    tokens = "the tokens that skip it" if mode == "current" else "the tokens after those that skip it"
    text = (
        f"Skipping layer {skipped} changes what layer {later} adds by {style.number(effects[skipped, later])} of its length, "
        f"at most,<br>on {tokens}<br>"
    )
    return [f"b{skipped}", text + style.invitation(dropped)]
