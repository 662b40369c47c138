"""The plans tried so far: what each costs in KL, against what it saves."""

import itertools
from collections.abc import Sequence

import plotly.graph_objects as go

from charts import scales, style
from measures.fronts import pareto_front
from plans.drops import Drops, dropped
from plans.plan import Plan, parse
from plans.registry import OPERATIONS

# What can be saved, by the names of `plans.cost.kept`
SAVED = {
    "parameters": "parameters",
    "nonzero": "non-zero parameters",
    "bytes": "bytes of the weights",
    "cache": "KV cache",
    "keys": "keys attended to",
}
_LABEL = 22  # letters of a plan beside its point
_NAMED = 12  # plans up to which all have a label
_ROOM = 0.5  # of the axis at the left, where labels stand to the right of their point
_MIXED = ("circle", "square", "diamond", "triangle-up", "x", "star")


def tried(rows: Sequence[dict], by: str = "parameters") -> go.Figure:
    """KL of every plan tried against what it keeps; left and low is good.

    Parameters
    ----------
    rows : sequence of dict
        ``plan`` (text), ``kl`` (nats per token), ``perplexity``, ``dense_perplexity``, and the shares of `plans.cost.kept`.
    by : str
        A key of `SAVED`: what the horizontal axis counts.

    Returns
    -------
    Figure
        One colour per kind of plan; a line joins the plans that no other one beats in both.
    """
    rows = sorted(rows, key=lambda row: (-row[by], row["kl"]))
    floor = min((row["kl"] for row in rows if row["kl"] > 0), default=1e-3) / 2
    best = pareto_front([row[by] for row in rows], [row["kl"] for row in rows])
    front = [row for row, good in zip(rows, best, strict=True) if good]
    ends = _ends([100 * row[by] for row in rows])
    figure = go.Figure()
    if len(front) > 1:
        line = {"color": style.LINE, "width": 1.5, "dash": "dot"}
        x, y = [100 * row[by] for row in front], [max(row["kl"], floor) for row in front]
        figure.add_scatter(x=x, y=y, mode="lines", line=line, hoverinfo="skip", name="best so far")
    labelled = front if len(rows) > _NAMED else rows
    kinds = [_kind(parse(row["plan"])) for row in rows]
    for kind, (colour, symbol) in _looks(kinds).items():
        mine = [row for row, each in zip(rows, kinds, strict=True) if each == kind]
        figure.add_scatter(
            x=[100 * row[by] for row in mine],
            y=[max(row["kl"], floor) for row in mine],
            mode="markers+text",
            marker={"size": 11, "color": colour, "symbol": symbol},
            text=[style.shortened(row["plan"] or "dense", _LABEL) if row in labelled else "" for row in mine],
            textposition=[_side(100 * row[by], ends, row in front) for row in mine],
            textfont={"size": 12},
            customdata=[[row["plan"], _summary(row)] for row in mine],
            hovertemplate="%{customdata[1]}<extra></extra>",
            name=kind,
            **style.UNFADED,
        )
    figure.update_xaxes(style.axis(f"{SAVED[by]} kept (%)", nticks=8, range=ends))
    figure.update_yaxes(style.axis("KL (nats per token)", **scales.log_axis(max(row["kl"], floor) for row in rows)))
    return style.frame(figure, 400, f"tried-{by}", finding=_lowest(rows, by))


def _lowest(rows: Sequence[dict], by: str) -> str:
    """The plan with the lowest KL that takes something out, in words."""
    kept = [row for row in rows if row["plan"]]
    if not kept:
        return ""
    least = min(kept, key=lambda row: row["kl"])
    return (
        f"Lowest KL so far: {style.plan_name(least['plan'])}, {style.number(least['kl'])} nats per token "
        f"with {100 * least[by]:.1f} % of the {SAVED[by]}"
    )


def _ends(kept: Sequence[float]) -> list[float]:
    """An axis from a little below the smallest share to 100 %, in percent."""
    least = min(kept, default=0.0)
    room = max(1.0, 0.1 * (100 - least))
    return [least - room, 100 + room]


def _side(place: float, ends: Sequence[float], on_front: bool) -> str:
    """Where a label stands: inside the plot, and below the points of the front, as nothing is left of and below it."""
    right = place < ends[0] + _ROOM * (ends[1] - ends[0])
    return f"{'bottom' if on_front else 'top'} {'right' if right else 'left'}"


def _kind(plan: Plan) -> str:
    """What a plan does, in the words of the legend: ``Attention only``, ``Attention + MLP``, ``Block + prune weights``."""
    drops = dropped(plan)
    places = {"attention": drops.attention, "mlp": drops.mlp, "block": drops.blocks}
    found = [style.NAME[kind] for kind, there in places.items() if there]
    found += [OPERATIONS[operation.name].title for operation in plan.operations if not isinstance(operation, Drops)]
    if len(found) < 2:
        return f"{found[0]} only" if found else "Dense"
    return " + ".join([found[0], *(each if each in style.NAME.values() else each[0].lower() + each[1:] for each in found[1:])])


def _looks(kinds: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Colour and mark of the kinds that are there; those that do several things are grey, and have other marks."""
    drops = {f"{style.NAME[kind]} only": colour for kind, colour in style.COLOUR.items()}
    others = (f"{kind.title} only" for kind in OPERATIONS.values() if kind.name != Drops.name)
    colours = drops | dict(zip(others, itertools.cycle(style.OTHERS), strict=False))
    looks = {kind: (colour, "circle") for kind, colour in colours.items() if kind in kinds}
    mixed = sorted(set(kinds) - set(looks))
    return looks | {kind: (style.MUTED, mark) for kind, mark in zip(mixed, itertools.cycle(_MIXED), strict=False)}


def _summary(row: dict) -> str:
    ratio = row["perplexity"] / row["dense_perplexity"]
    saved = [f"{100 * row[name]:.1f} % of the {what}" for name, what in SAVED.items() if row.get(name, 1) < 1]
    return (
        f"<b>{row['plan'] or 'the dense model'}</b><br>keeps {', '.join(saved) or 'everything'}<br>"
        f"KL {style.number(row['kl'])} nats per token<br>"
        f"perplexity {style.number(row['perplexity'])}, {style.number(ratio)} times the dense model’s "
        f"({style.number(row['dense_perplexity'])})"
    )
