"""Why multiple choice survives: how far predictions move over the whole vocabulary, and over the options alone."""

import textwrap
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from charts import style
from charts.deviation.spaces import PLANS, SMALLEST, SYMBOLS, rounded
from probes.choice.choice_subspace import ChoiceResult
from texts.items import LETTERS

WAYS = {"letters": "by letter", "texts": "by text"}
_MEASURES = {"logit_cosine": "1 − cos(z)", "prob_cosine": "1 − cos(p)", "kl": "KL (nats)"}
_DECADES = {"dtick": 1, "exponentformat": "power", "showgrid": True}
_WIDTH = 60  # letters of a line in a hover text


def subspaces(results: dict[str, ChoiceResult], way: str = "letters") -> go.Figure:
    """Mean deviation over the whole vocabulary (open) and over the options (filled), a row per plan.

    Parameters
    ----------
    results : dict of str to ChoiceResult or None
        By plan; its place gives the colour. Plans that are not measured yet keep their place and are not drawn.
    way : {"letters", "texts"}

    Returns
    -------
    Figure
        Three columns with logarithmic axes: logits, probabilities, KL.
    """
    figure = make_subplots(1, len(_MEASURES), shared_yaxes=True, horizontal_spacing=0.05)
    shown = [(place, plan, result) for place, (plan, result) in enumerate(results.items()) if result is not None]
    for column, (measure, title) in enumerate(_MEASURES.items(), 1):
        drawn = []
        for row, (place, plan, result) in enumerate(shown):
            whole, inside = (_deviation(getattr(result, way).means, f"{prefix}{measure}") for prefix in ("", "option_"))
            drawn += [whole, inside]
            look = (PLANS[place], SYMBOLS[place])
            _dumbbell(figure, (whole, inside), row, look, _comparison(plan, title, whole, inside), column)
        figure.update_xaxes(style.axis(title, type="log", range=_range(drawn), **_DECADES), col=column)
    for name, symbol in (("whole vocabulary", "circle-open"), ("options alone", "circle")):
        figure.add_trace(style.legend_item(name, marker={"symbol": symbol, "size": 10, "color": style.MUTED}))
    ticks = {"tickvals": list(range(len(shown))), "ticktext": [style.plan_name(plan) for _, plan, _ in shown]}
    figure.update_yaxes(style.axis(None, range=[len(shown) - 0.5, -0.5], showgrid=False, **ticks))
    figure.update_yaxes(style.heading("plan", 8), col=1)
    pairs = [(plan, *(getattr(found, way).means[name] for name in ("kl", "option_kl"))) for _, plan, found in shown]
    said = [f"{style.number(a)} and {style.number(b)} for {style.plan_name(plan)}" for plan, a, b in pairs]
    finding = f"KL over the whole vocabulary and over the options, in nats: {'; '.join(said)}" if said else ""
    return style.frame(figure, 130 + 44 * len(shown), f"subspaces-{way}", finding=finding)


def _deviation(means: dict[str, float], name: str) -> float:
    return 1 - means[name] if name.endswith("cosine") else means[name]


def _comparison(plan: str, title: str, whole: float, inside: float) -> str:
    ratio = f"<br>{style.number(whole / inside, 2)} times as much over the whole vocabulary" if inside > SMALLEST else ""
    return (
        f"<b>{style.plan_name(plan)}</b>, {title}<br>whole vocabulary: {style.number(whole)}<br>"
        f"options alone: {style.number(inside)}{ratio}"
    )


def _dumbbell(figure: go.Figure, both: tuple[float, float], row: int, look: tuple[str, str], text: str, column: int) -> None:
    x, (colour, symbol) = rounded(np.array(both)), look
    figure.add_scatter(
        x=x, y=[row, row], mode="lines+markers", line={"color": colour, "width": 2}, showlegend=False,
        marker={"symbol": [f"{symbol}-open", symbol], "size": 12, "color": colour, "line": {"width": 2, "color": colour}},
        customdata=[[text], [text]], hovertemplate="%{customdata[0]}<extra></extra>", row=1, col=column, **style.UNFADED,
    )  # fmt: skip


def _range(values: list[float]) -> list[float]:
    found = [value for value in values if np.isfinite(value) and value > SMALLEST]
    if not found:
        return [-3.0, 0.0]
    low, high = np.log10(min(found)), np.log10(max(found))
    pad = max(0.15, (1 - (high - low)) / 2)
    return [float(low - pad), float(high + pad)]


def each_item(results: dict[str, ChoiceResult], way: str = "letters") -> go.Figure:
    """KL over the options against KL over the whole vocabulary, a point per item; below the line, the options moved less.

    Returns
    -------
    Figure
        Items whose choice changed are crosses. Items without an option subspace are left out.
    """
    figure, ends = go.Figure(), ([], [])
    for place, (plan, result) in enumerate(results.items()):
        if result is None:
            continue
        found = getattr(result, way)
        kl, inside = np.asarray(found.kl, float), np.asarray(found.option_kl, float)
        kept = np.flatnonzero(np.isfinite(inside) & (kl > SMALLEST) & (inside > SMALLEST))
        for values, found_there in zip(ends, (kl[kept], inside[kept]), strict=True):
            values += found_there.tolist()
        changed = np.asarray(found.chosen) != np.asarray(found.dense_chosen)
        figure.add_scatter(
            x=rounded(kl[kept]), y=rounded(inside[kept]), mode="markers", name=style.plan_name(plan),
            marker={"color": PLANS[place], "size": 7, "opacity": 0.8,
                    "symbol": ["x" if changed[i] else f"{SYMBOLS[place]}-open" for i in kept]},
            customdata=[[_item(result, way, i)] for i in kept], hovertemplate="%{customdata[0]}<extra></extra>",
            **style.UNFADED,
        )  # fmt: skip
    both = [min([*ends[0], *ends[1]], default=1e-3), max([*ends[0], *ends[1]], default=1.0)]
    line = {"color": style.LINE, "width": 1.5, "dash": "dot"}
    figure.add_scatter(x=both, y=both, mode="lines", line=line, name="equal KL", hoverinfo="skip")
    figure.add_trace(style.legend_item("choice changed", marker={"symbol": "x", "size": 8, "color": style.MUTED}))
    figure.update_xaxes(style.axis("KL, whole vocabulary (nats)", type="log", range=_range(ends[0]), **_DECADES))
    figure.update_yaxes(style.axis("KL, options alone (nats)", type="log", range=_range(ends[1]), **_DECADES))
    flips = [(plan, flipped(found, way), len(found.questions)) for plan, found in results.items() if found is not None]
    said = [f"{len(rows)} of {count} with {style.plan_name(plan)}" for plan, rows, count in flips]
    finding = f"Items whose choice changes: {', '.join(said)}" if said else ""
    return style.frame(figure, 390, f"items-{way}", finding=finding)


def _item(result: ChoiceResult, way: str, i: int) -> str:
    found = getattr(result, way)
    question = "<br>".join(style.plain(line) for line in textwrap.wrap(result.questions[i], _WIDTH))
    dense, pruned = (style.plain(result.options[i][int(each[i])]) for each in (found.dense_chosen, found.chosen))
    choice = f"both choose ‘{dense}’" if dense == pruned else f"dense chooses ‘{dense}’, pruned ‘{pruned}’"
    numbers = f"KL: {style.number(found.kl[i])} nats, over the options alone {style.number(found.option_kl[i])} nats"
    return f"{question}<br><b>{choice}</b>; correct: ‘{style.plain(result.options[i][result.answers[i]])}’<br>{numbers}"


def summary(results: dict[str, ChoiceResult]) -> list[dict[str, Any]]:
    """A row per plan and way: accuracies, agreement, margins, and the probability of all options together."""
    table = []
    for plan, result in results.items():
        for way, name in WAYS.items() if result is not None else ():
            found = getattr(result, way)
            table.append(
                {"plan": plan, "chosen": name, "right, dense": found.dense_accuracy, "right, pruned": found.accuracy,
                 "same choice": found.agreement, "guessing": result.chance, "margin, dense": found.means["dense_margin"],
                 "margin, pruned": found.means["margin"], "mass, dense": found.means["dense_option_mass"],
                 "mass, pruned": found.means["option_mass"]}
            )  # fmt: skip
    return table


def flipped(result: ChoiceResult, way: str) -> list[dict[str, Any]]:
    """A row per item where the models choose differently, the one that the dense model was surest of first."""
    found = getattr(result, way)
    table = []
    for i in np.flatnonzero(np.asarray(found.chosen) != np.asarray(found.dense_chosen)).tolist():
        dense, pruned, right = int(found.dense_chosen[i]), int(found.chosen[i]), result.answers[i]
        became = f"{_verdict(dense == right)} → {_verdict(pruned == right)}"
        named = [f"{LETTERS[place]}. {result.options[i][place]}" for place in (right, dense, pruned)]
        table.append(
            {"question": result.questions[i], "right": named[0], "dense chooses": named[1], "pruned chooses": named[2],
             "became": became, "margin, dense": float(found.dense_margin[i]), "margin, pruned": float(found.margin[i]),
             "KL, vocabulary": float(found.kl[i]), "KL, options": float(found.option_kl[i])}
        )  # fmt: skip
    return sorted(table, key=lambda row: -row["margin, dense"])


def _verdict(right: bool) -> str:
    return "right" if right else "wrong"


def categories(result: ChoiceResult, way: str) -> list[dict[str, Any]]:
    """A row per category of items: accuracies and agreement."""
    return [
        {"category": name, "items": int(row["items"]), "right, dense": row["dense_accuracy"],
         "right, pruned": row["accuracy"], "same choice": row["agreement"], "KL, vocabulary": row["kl"],
         "KL, options": row["option_kl"]}
        for name, row in getattr(result, way).categories.items()
    ]  # fmt: skip
