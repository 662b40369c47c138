"""How little each part changes the residual stream, which spans are therefore redundant, and what each part adds."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from charts import scales, style
from charts.redundancy.spans import spans, states
from plans.drops import LETTERS
from plans.plan import Plan
from probes.redundancy.similarity import SimilarityResult, Summary

__all__ = ["contributions", "importance", "span_curve", "spans", "states"]

KINDS = tuple(LETTERS)
_THIN = {"mode": "lines", "line": {"color": style.MUTED, "width": 1.5}}
_SIGNS = "(below 0 it erases, near 0 it writes something new, above 0 it reinforces)"


def importance(
    result: SimilarityResult, plan: Plan, first: bool = True, kinds: Sequence[str] = KINDS, log: bool = True
) -> go.Figure:
    """One row of bars per kind: 1 − mean cosine of the stream before and after, by layer.

    Parameters
    ----------
    result : SimilarityResult
    plan : Plan
        What it drops is hatched.
    first : bool
        Whether position 0 counts. The spread is always over all positions.
    kinds : sequence of {"attention", "mlp", "block"}
    log : bool
        Logarithmic and the same for all rows: attention is often ten times less important than the MLP.

    Returns
    -------
    Figure
        The first ``customdata`` of a bar is its part of a plan, ``a25``, ``m3`` or ``b7``.
    """
    means = _means(result, first)
    titles = [f"<b>{style.NAME[kind]}</b>" for kind in kinds]
    figure = make_subplots(len(kinds), 1, shared_xaxes=True, vertical_spacing=0.24 / len(kinds), subplot_titles=titles)
    low, high = _range(result, means, kinds)
    for row, kind in enumerate(kinds, 1):
        _bars(figure, row, result, means, kind, style.dropped_layers(plan, kind), low if log else -np.inf)
    figure.add_trace(style.legend_item("5–95 % of tokens", **_THIN))
    if plan:
        figure.add_trace(style.dropped_item())
    figure.update_xaxes(scales.layer_axis(result.layers, None))
    figure.update_xaxes(style.heading("layer"), row=len(kinds))
    scale = {"type": "log", "range": np.log10([low, high]).tolist(), "dtick": 1} if log else {"rangemode": "tozero"}
    figure.update_yaxes(style.axis("1 − cosine", nticks=5, tickformat="~g", **scale))
    figure.update_annotations(x=0, xanchor="left", yshift=2, font={"size": 14})
    # In mode "x" the whole column of a bar answers to the mouse: the bars worth a click are the shortest.
    revision = f"importance-{log}-{','.join(kinds)}"
    height, least = 80 + 170 * len(kinds), _least(means, kinds)
    return style.frame(figure, height, revision, above=26, finding=least, hovermode="x", bargap=0.25)


def _bars(
    figure: go.Figure,
    row: int,
    result: SimilarityResult,
    means: SimilarityResult | Summary,
    kind: str,
    dropped: frozenset[int],
    floor: float,
) -> None:
    """The importance of one kind with its spread, nothing of it below ``floor``."""
    scores, spread = 1 - np.array(getattr(means, kind)), _spread(result, kind)
    figure.add_bar(
        x=list(range(result.layers)),
        y=np.maximum(scores, floor).tolist(),
        marker=style.marker(style.COLOUR[kind], [i in dropped for i in range(result.layers)]),
        customdata=_bar_texts(result, means, kind, scores, spread, dropped),
        hovertemplate="%{customdata[1]}<extra></extra>",
        name=style.NAME[kind],
        showlegend=False,
        row=row,
        col=1,
        **style.UNFADED,
    )
    x, y = _whiskers(np.maximum(spread, floor))
    figure.add_scatter(x=x, y=y, hoverinfo="skip", showlegend=False, row=row, col=1, **_THIN)


def _least(means: SimilarityResult | Summary, kinds: Sequence[str]) -> str:
    score, kind, layer = min((1 - cosine, kind, i) for kind in kinds for i, cosine in enumerate(getattr(means, kind)))
    return f"{style.part(kind, layer)} changes the stream least: 1 − cosine {style.number(score)}"


def _means(result: SimilarityResult, first: bool) -> SimilarityResult | Summary:
    return result if first else result.without_first


def _spread(result: SimilarityResult, kind: str) -> np.ndarray:
    """5 and 95 % of the importance, shape (layers, 2); a high cosine is a low importance, so they change places."""
    return 1 - getattr(result, f"{kind}_spread")[:, [-1, 0]]


def _range(result: SimilarityResult, means: SimilarityResult | Summary, kinds: Sequence[str]) -> tuple[float, float]:
    """Where a logarithmic axis starts and ends: half below the lowest mean, and to the end of the highest whisker."""
    scores = np.array([1 - np.array(getattr(means, kind)) for kind in kinds])
    above = scores[scores > 0]
    top = max(scores.max(), *(_spread(result, kind).max() for kind in kinds))
    low = max(float(above.min(initial=1.0)) / 2, 1e-9)
    return low, max(float(top), low * 10) * 1.2


def _whiskers(spread: np.ndarray) -> tuple[list, list]:
    """Vertical lines as one broken line: an error bar could not leave its mean outside, as a skewed spread does."""
    x = [place for i in range(len(spread)) for place in (i, i, None)]
    return x, [value for low, high in spread.tolist() for value in (low, high, None)]


def _bar_texts(
    result: SimilarityResult,
    means: SimilarityResult | Summary,
    kind: str,
    scores: np.ndarray,
    spread: np.ndarray,
    dropped: frozenset[int],
) -> list[list[str]]:
    """Plan item and sentence of each bar."""
    rank = {layer: place for place, layer in enumerate(np.argsort(scores, kind="stable"), 1)}
    norm, turn = (getattr(means, f"{kind}_{what}") for what in ("norm", "turn"))
    return [
        [
            f"{LETTERS[kind]}{i}",
            f"<b>{style.part(kind, i)}</b>: importance {style.number(scores[i])} (1 − cosine)<br>rank {rank[i]} of "
            f"{result.layers}, where 1 is the most redundant<br>5–95 % of tokens: {style.number(spread[i, 0])} to "
            f"{style.number(spread[i, 1])}<br>norm of the update relative to the stream: {style.number(norm[i])}; "
            f"cosine(update, stream): {style.number(turn[i], 2)}<br>" + style.invitation(i in dropped),
        ]
        for i in range(result.layers)
    ]


def contributions(result: SimilarityResult, first: bool = True, log: bool = True) -> go.Figure:
    """How long the output of each part is, and where it points, by layer.

    Parameters
    ----------
    result : SimilarityResult
    first : bool
        Whether position 0 counts.
    log : bool
        Logarithmic lengths: the output of the first layers is often several times as long as their input.

    Returns
    -------
    Figure
        Two rows: length of the output over length of the stream, and their cosine.
    """
    means = _means(result, first)
    figure = make_subplots(2, 1, shared_xaxes=True, vertical_spacing=0.09)
    for kind in KINDS:
        lengths = [None if log and norm <= 0 else norm for norm in getattr(means, f"{kind}_norm")]
        _line(figure, 1, kind, lengths, "norm of the update relative to the stream: %{customdata[1]}")
        turns = getattr(means, f"{kind}_turn")
        _line(figure, 2, kind, turns, f"cosine(update, stream): %{{customdata[1]}}<br>{_SIGNS}")
    figure.add_hline(y=0, line={"color": style.LINE, "width": 1}, row=2, col=1)
    figure.update_xaxes(scales.layer_axis(result.layers, None, range=[-0.5, result.layers - 0.5]))
    figure.update_xaxes(style.heading("layer"), row=2)
    norms = [norm for kind in KINDS for norm in getattr(means, f"{kind}_norm")]
    scale = scales.log_axis(norms) if log else {"rangemode": "tozero"}
    figure.update_yaxes(style.axis("update norm ÷ stream norm", **scale), row=1)
    figure.update_yaxes(style.axis("cosine(update, stream)", nticks=6), row=2)
    return style.frame(figure, 480, f"contributions-{log}", finding=_most(means))


def _line(figure: go.Figure, row: int, kind: str, values: Sequence[float | None], sentence: str) -> None:
    """One number of one kind over the layers; None is left out, as 0 on a logarithmic axis."""
    subject = "Block %{x}" if kind == "block" else f"{style.NAME[kind]} of layer %{{x}}"
    figure.add_scatter(
        x=list(range(len(values))),
        y=list(values),
        mode="lines+markers",
        line={"color": style.COLOUR[kind], "width": 2},
        marker={"size": 6},
        customdata=[[f"{LETTERS[kind]}{i}", style.number(value or 0.0)] for i, value in enumerate(values)],
        hovertemplate=f"{subject}, {sentence}<extra></extra>",
        name=style.NAME[kind],
        legendgroup=kind,
        showlegend=row == 1,
        row=row,
        col=1,
        **style.UNFADED,
    )


def _most(means: SimilarityResult | Summary) -> str:
    norm, kind, layer = max((norm, kind, i) for kind in KINDS[:2] for i, norm in enumerate(getattr(means, f"{kind}_norm")))
    turns = [turn for kind in KINDS[:2] for turn in getattr(means, f"{kind}_turn")]
    return (
        f"{style.part(kind, layer)} adds the most, {style.number(norm)} times the length of the stream; "
        f"{sum(turn < 0 for turn in turns)} of {len(turns)} sublayers point against it"
    )


def span_curve(result: SimilarityResult, plan: Plan | None = None) -> go.Figure:
    """Angular distance of the best span of each length: where the curve bends up, dropping more starts to cost."""
    plan = plan or Plan()
    chosen = [set(range(best["start"], best["stop"])) <= style.dropped_layers(plan, "block") for best in result.spans]
    figure = go.Figure()
    figure.add_scatter(
        x=[best["length"] for best in result.spans],
        y=[best["angular"] for best in result.spans],
        mode="lines+markers",
        line={"color": style.BLOCK, "width": 2},
        marker={
            "size": 9,
            "color": [style.DROP if each else style.BLOCK for each in chosen],
            "symbol": ["x" if each else "circle" for each in chosen],
        },
        customdata=[
            [
                best["plan"],
                f"Best span of this length: <b>{style.span(best['start'], best['stop'])}</b><br>"
                f"angular distance {style.number(best['angular'])} (0: same direction, 1: opposite), "
                f"cosine {style.number(best['cosine'])}<br>" + style.invitation(each),
            ]
            for best, each in zip(result.spans, chosen, strict=True)
        ],
        hovertemplate="%{customdata[1]}<extra></extra>",
        name="best span of its length",
        showlegend=False,
        **style.UNFADED,
    )
    if any(chosen):
        look = {"color": style.DROP, "symbol": "x", "size": 9}
        figure.add_trace(style.legend_item(style.DROPPED, marker=look))
    figure.update_xaxes(scales.layer_axis(result.layers, "consecutive layers dropped", range=[0.5, result.layers + 0.5]))
    figure.update_yaxes(style.axis("angular distance", rangemode="tozero", nticks=6))
    shown = {length: result.spans[length - 1] for length in (1, max(1, result.layers // 4), max(1, result.layers // 2))}
    sizes = [f"{style.number(best['angular'])} for {length}" for length, best in shown.items()]
    finding = f"Distance of the best span by number of layers: {', '.join(sizes)}"
    return style.frame(figure, 320, "span-curve", finding=finding)
