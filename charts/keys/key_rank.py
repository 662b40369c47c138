"""How many dimensions keys use: by layer and head, along the layers, in one head, and whether that holds on other text."""

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from charts import cells, scales, style
from charts.keys.spectra import POST, PRE, QUERY, VALUE, mean_rank, overlap, overlap_in_words, ranks, shade, spectrum
from probes.keys.key_rank import KeyRankResult

__all__ = ["heads", "layers", "mean_rank", "overlap", "overlap_in_words", "ranks", "spectrum"]

_CELL = 16  # pixels that a layer is high in the map; fewer where there are many
_HIGHEST = 900  # pixels of the map
_WRITTEN = 8  # heads up to which a cell has its number in it


def heads(result: KeyRankResult, level: float, chosen: tuple[int, int] | None = None) -> go.Figure:
    """Rank of every head, layers downwards: before rotation at the left, as attention sees the keys at the right.

    Parameters
    ----------
    level : float
        One of `LEVELS`.
    chosen : (layer, head), optional
        This cell is framed.

    Returns
    -------
    Figure
        The ``customdata`` of a cell is its layer, its head and a sentence. Without rotation there is one map.
    """
    maps = [("pre", "before rotation"), ("post", "rotated")] if any(result.rotary) else [("post", "keys (not rotated)")]
    figure = make_subplots(
        1, len(maps), shared_yaxes=True, horizontal_spacing=0.04, subplot_titles=[f"<b>{name}</b>" for _, name in maps]
    )
    cell = max(5, min(_CELL, _HIGHEST / result.layers))
    for place, (states, _) in enumerate(maps, 1):
        _cells(figure, result, states, level, place, cell)
        _targets(figure, result, states, level, place)
        if chosen is not None:
            cells.frame_cell(figure, *reversed(chosen), row=1, col=place)
    figure.update_xaxes(scales.layer_axis(result.heads, "KV head", range=[-0.5, result.heads - 0.5]))
    figure.update_xaxes(dtick=_step(result.heads, 12), automargin=False, title_standoff=24)
    figure.update_yaxes(scales.layer_axis(result.layers, None, range=[result.layers - 0.5, -0.5]))
    figure.update_yaxes(automargin=False)
    figure.update_yaxes(style.heading("layer", 26), col=1)
    figure.update_annotations(yshift=2, font={"size": 14})
    margin = {"l": 56, "r": 8, "t": 96, "b": 52}
    # Cells are wider than a marker can be: whatever lies under the mouse belongs to the nearest centre.
    height = 150 + int(cell * result.layers)
    return style.frame(figure, height, f"heads-{level}", finding=_fewest(result, level), margin=margin, hoverdistance=-1)


def _fewest(result: KeyRankResult, level: float) -> str:
    found = ranks(result, "post", level)
    layer, head = np.unravel_index(found.argmin(), found.shape)
    return (
        f"Keys need {style.number(found.mean())} of {result.head_dim} dimensions on average, "
        f"fewest in layer {layer}, head {head}: {found.min()}"
    )


def _step(count: int, labels: int) -> int:
    return next(step for step in (1, 2, 4, 8, 16, 32, 64, 128, count) if count / step <= labels)


def _cells(figure: go.Figure, result: KeyRankResult, states: str, level: float, place: int, cell: float) -> None:
    title = f"Dimensions for {100 * level:g} % of the variance (of {result.head_dim})"
    # In units of the picture: one that moves the plot after its axes are drawn leaves their titles where they were.
    bar = cells.colour_bar(title, 260, nticks=6, xpad=0, ypad=0, y=0.99, yref="container", yanchor="top")
    found = ranks(result, states, level)
    figure.add_heatmap(
        z=[[value or None for value in row] for row in found.tolist()],
        colorscale=style.NEAR_TO_FAR,
        zmin=1,
        zmax=max(2, result.head_dim),
        hoverinfo="skip",
        xgap=1,
        ygap=1 if cell > 8 else 0,
        showscale=place == 1,
        colorbar=bar,
        name="before rotation" if states == "pre" else "keys",
        row=1,
        col=place,
    )
    if result.heads <= _WRITTEN and cell > 12:
        figure.add_trace(cells.digits(found, found.astype(str), 1, max(2, result.head_dim), 11), row=1, col=place)


def _targets(figure: go.Figure, result: KeyRankResult, states: str, level: float, place: int) -> None:
    """What a click on a cell hands over: its layer, its head, and its hover text."""
    found, name = ranks(result, states, level), "before rotation" if states == "pre" else "as attention sees them"
    effective, participation = (getattr(result, f"{what}_{states}") for what in ("effective_rank", "participation"))
    texts = []
    for layer, head in np.ndindex(found.shape):
        rank = int(found[layer, head])
        facts = (
            f"<b>{rank} of {result.head_dim} dimensions</b> ({100 * rank / result.head_dim:.0f} %) explain "
            f"{100 * level:g} % of the variance<br>"
            f"effective rank {style.number(effective[layer, head])} (exponential of the entropy)<br>"
            f"participation ratio {style.number(participation[layer, head])}"
        )
        if rank == 0:
            facts = "these keys are constant"
        title = f"<b>Layer {layer}, KV head {head}</b>, keys {name}"
        texts.append([layer, head, f"{title}<br>{facts}<br><i>click to see the spectrum</i>"])
    layers, heads, _ = zip(*texts, strict=True)
    figure.add_trace(cells.targets(heads, layers, texts), row=1, col=place)


def layers(result: KeyRankResult, level: float) -> go.Figure:
    """Rank along the layers: the mean over heads, and for the keys the range from the lowest to the highest head."""
    figure = go.Figure()
    kinds = [("post", "keys, rotated" if any(result.rotary) else "keys", POST, "solid")]
    kinds += [("pre", "keys before rotation", PRE, "solid")] if any(result.rotary) else []
    kinds += [("without_first", "keys without first token", POST, "dot"), ("value", "values", VALUE, "dash")]
    kinds += [("query", "queries", QUERY, "dashdot")]
    for states, name, colour, dash in kinds:
        found = ranks(result, states, level)
        if found is None:
            continue
        x, low, high = list(range(result.layers)), found.min(axis=1), found.max(axis=1)
        if states in ("pre", "post"):
            figure.add_trace(shade(x, low, high, colour, states))
        width = result.value_dim if states == "value" else result.head_dim
        figure.add_scatter(
            x=x,
            y=found.mean(axis=1).tolist(),
            mode="lines+markers" if dash == "solid" else "lines",
            line={"color": colour, "width": 2, "dash": dash},
            marker={"size": 5},
            name=name,
            legendgroup=states,
            visible="legendonly" if states == "without_first" else True,
            customdata=[
                [f"{style.number(mean)} of {width}", int(least), int(most)]
                for mean, least, most in zip(found.mean(axis=1), low, high, strict=True)
            ],
            hovertemplate=f"{style.capital(name)}: <b>%{{customdata[0]}}</b>"
            " (by head: %{customdata[1]} to %{customdata[2]})<extra></extra>",
        )
    line = {"color": style.MUTED, "width": 1, "dash": "dot"}
    figure.add_hline(
        y=result.head_dim, line=line, annotation_text=f"head dimension {result.head_dim}", annotation_position="bottom left"
    )
    figure.update_annotations(font={"size": 12, "color": style.MUTED})
    ends = [-0.5, result.layers - 0.5]
    figure.update_xaxes(scales.layer_axis(result.layers, "layer", range=ends))
    title = f"dimensions for {100 * level:g} % of the variance"
    figure.update_yaxes(style.axis(title, range=[0, 1.05 * max(result.head_dim, result.value_dim)], nticks=6))
    return style.frame(figure, 380, f"layers-{level}", finding=_range(result, level), hovermode="x unified")


def _range(result: KeyRankResult, level: float) -> str:
    means = ranks(result, "post", level).mean(axis=1)
    return (
        f"Of {result.head_dim} dimensions, keys need fewest in layer {means.argmin()} ({style.number(means.min())}) "
        f"and most in layer {means.argmax()} ({style.number(means.max())})"
    )
