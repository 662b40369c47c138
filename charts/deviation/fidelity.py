"""Where a plan hurts along a text, and what the plans tried so far cost."""

import itertools
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from charts import style
from measures.fronts import pareto_front
from plans.drops import Drops, dropped
from plans.plan import Plan, parse
from plans.registry import OPERATIONS
from probes.deviation.fidelity import FidelityResult

_CONTEXT = 8  # tokens before the predicted one in the hover text
_WORST = 5  # tokens named in the chart
_LABEL = 18  # letters of a plan beside its point


def damage(result: FidelityResult, pieces: list[list[str]] | None, window: int) -> go.Figure:
    """KL(dense‖pruned) at each predicted token of one window.

    Parameters
    ----------
    result : FidelityResult
    pieces : list of list of str, optional
        Text of every token of every window, the first one included; without it hover texts have numbers only.
    window : int
        Which window, from 0.

    Returns
    -------
    Figure
        Bars over the position of the predicted token in the window, from 1; the worst are named.

    Raises
    ------
    ValueError
        The window does not exist, or its text has another number of tokens.
    """
    if not 0 <= window < len(result.token_kl):
        raise ValueError(f"There is no window {window}; the result has windows 0 to {len(result.token_kl) - 1}.")
    kl = np.asarray(result.token_kl[window], float)
    texts = None if pieces is None else [style.plain(piece) for piece in pieces[window]]
    if texts is not None and len(texts) != len(kl) + 1:
        raise ValueError(f"Window {window} has {len(kl) + 1} tokens, but texts of {len(texts)} were given.")
    nll = zip(result.dense_token_nll[window].tolist(), result.token_nll[window].tolist(), strict=True)
    figure = go.Figure()
    figure.add_bar(
        x=list(range(1, len(kl) + 1)),
        y=[style.rounded(value) for value in kl],
        marker={"color": style.DROP, "line": {"width": 0}},
        customdata=[[_sentence(i, kl[i - 1], *both, texts)] for i, both in enumerate(nll, 1)],
        hovertemplate="%{customdata[0]}<extra></extra>",
        name="KL per token",
        **style.UNFADED,
    )
    mean, ends = float(kl.mean()), [0.5, len(kl) + 0.5]
    look = {"mode": "lines", "line": {"color": style.MUTED, "width": 1.5, "dash": "dot"}, "hoverinfo": "skip"}
    figure.add_scatter(x=ends, y=[mean, mean], name=f"window mean: {style.number(mean)} nats", **look)
    for i in _worst(kl) if texts else ():
        label = style.shortened(texts[i + 1].strip() or "␣")
        look = {"showarrow": False, "yshift": 9, "xanchor": _side(i, len(kl)), "font": {"size": 12}}
        figure.add_annotation(x=i + 1, y=kl[i], text=label, **look)
    figure.update_xaxes(style.axis("position in the window (tokens)", showgrid=False, nticks=12, range=ends))
    figure.update_yaxes(style.axis("KL (nats)", rangemode="tozero", nticks=5))
    return style.frame(figure, 320, f"damage-{window}", hovermode="x", bargap=0.1)


def _sentence(i: int, kl: float, dense: float, pruned: float, texts: list[str] | None) -> str:
    """Token ``i`` of the window, the tokens before it, and how likely it is to both models."""
    seen = f"Token {i}"
    if texts:
        before = "".join(texts[max(0, i - _CONTEXT) : i])
        seen += f": {'…' if i > _CONTEXT else ''}{before}<b>{texts[i] or '∅'}</b>"
    return (
        f"{seen}<br>KL {style.number(kl)} nats<br>negative log-likelihood: "
        f"dense {style.number(dense)} nats, pruned {style.number(pruned)} nats"
    )


def _worst(kl: np.ndarray) -> list[int]:
    """The highest bars that stand far enough apart to be named."""
    found: list[int] = []
    for i in np.argsort(-kl, kind="stable").tolist():
        if len(found) == _WORST or kl[i] <= 0:
            break
        if all(abs(i - other) > len(kl) / 12 for other in found):
            found.append(i)
    return found


def _side(place: int, count: int) -> str:
    """Which end of a label stands over its bar, so that those of the first and last bars stay inside the plot."""
    if place < count / 20:
        return "left"
    return "right" if place > count * 19 / 20 else "center"


def tried(rows: Sequence[dict]) -> go.Figure:
    """KL of every plan tried against the share of parameters it keeps; left and low is good.

    Parameters
    ----------
    rows : sequence of dict
        ``plan`` (text), ``parameters`` (share kept, 0 to 1), ``kl`` (nats per token), ``perplexity`` and
        ``dense_perplexity``.

    Returns
    -------
    Figure
        One colour per kind of plan; a line joins the plans that no other one beats in both.
    """
    rows = sorted(rows, key=lambda row: (-row["parameters"], row["kl"]))
    floor = min((row["kl"] for row in rows if row["kl"] > 0), default=1e-3) / 2
    best = pareto_front([row["parameters"] for row in rows], [row["kl"] for row in rows])
    front = [row for row, kept in zip(rows, best, strict=True) if kept]
    figure = go.Figure()
    line = {"color": style.LINE, "width": 1.5, "dash": "dot"}
    x, y = [100 * row["parameters"] for row in front], [max(row["kl"], floor) for row in front]
    if len(front) > 1:
        figure.add_scatter(x=x, y=y, mode="lines", line=line, hoverinfo="skip", name="best so far")
    labelled = front if len(rows) > 12 else rows
    for kind, (name, colour) in _kinds().items():
        mine = [row for row in rows if _kind(parse(row["plan"])) == kind]
        if mine:
            figure.add_scatter(
                x=[100 * row["parameters"] for row in mine],
                y=[max(row["kl"], floor) for row in mine],
                mode="markers+text",
                marker={"size": 11, "color": colour},
                text=[style.shortened(row["plan"] or "dense", _LABEL) if row in labelled else "" for row in mine],
                # Nothing lies left of and below the front, so its labels go there.
                textposition=["bottom left" if row in front else "top right" for row in mine],
                textfont={"size": 11},
                cliponaxis=False,
                customdata=[[row["plan"], _summary(row)] for row in mine],
                hovertemplate="%{customdata[1]}<extra></extra>",
                name=name,
                **style.UNFADED,
            )
    least = min((100 * row["parameters"] for row in rows), default=0.0)
    ends = [least - 0.5 * (100 - least) - 0.1, 100 + 0.1 * (100 - least) + 0.1]
    figure.update_xaxes(style.axis("parameters kept (%)", nticks=8, range=ends))
    figure.update_yaxes(style.axis("KL (nats per token)", type="log", nticks=6, tickformat="~g"))
    return style.frame(figure, 380, "tried")


def _kind(plan: Plan) -> str:
    """What a plan does, if it does only one thing: drops one kind of part, or one other operation."""
    drops = dropped(plan)
    places = {"attention": drops.attention, "mlp": drops.mlp, "block": drops.blocks}
    found = [kind for kind, there in places.items() if there]
    found += [operation.name for operation in plan.operations if not isinstance(operation, Drops)]
    return found[0] if len(found) == 1 else "mixed"


def _kinds() -> dict[str, tuple[str, str]]:
    """Name in the legend and colour of each kind of plan."""
    drops = {kind: (f"{style.NAME[kind]} only", colour) for kind, colour in style.COLOUR.items()}
    others = [kind for kind in OPERATIONS.values() if kind.name != Drops.name]
    colours = itertools.cycle(style.OTHERS)
    more = {kind.name: (f"{kind.title} only", colour) for kind, colour in zip(others, colours, strict=False)}
    return drops | more | {"mixed": ("mixed", style.MUTED)}


def _summary(row: dict) -> str:
    ratio = row["perplexity"] / row["dense_perplexity"]
    return (
        f"<b>{row['plan'] or 'the dense model'}</b> keeps {100 * row['parameters']:.1f} % of the parameters<br>"
        f"KL {style.number(row['kl'])} nats per token<br>"
        f"perplexity {style.number(row['perplexity'])}, {style.number(ratio)} times the dense model’s "
        f"({style.number(row['dense_perplexity'])})"
    )
