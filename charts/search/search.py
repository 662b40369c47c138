"""What was found under a budget: damage against what is saved, by strategy."""

import numpy as np
import plotly.graph_objects as go

from charts import scales, style
from measures.fronts import pareto_front
from plans.plan import Plan, parse
from probes.search.search import SearchResult
from probes.search.so_far import SoFar

NAME = {
    "similarity": "one-shot, similarity",
    "length": "one-shot, relative length",
    "gradient": "one-shot, first-order",
    "gradient_size": "one-shot, first-order, absolute by token",
    "kl": "one-shot, KL",
    "span": "consecutive blocks",
    "balanced": "evenly spread",
    "knapsack": "knapsack",
    "greedy": "greedy",
    "swaps": "greedy + swaps",
    "random": "random",
}
# Colours told apart with any colour blindness; each strategy has a symbol and a dash of its own for black and white.
_LOOK = {
    "similarity": ("#D67410", "square", "dash"),
    "length": ("#E11D48", "square-open", "dash"),
    "gradient": ("#4D7C0F", "cross", "dash"),
    "gradient_size": ("#4D7C0F", "cross-open", "longdash"),
    "kl": ("#0284C7", "diamond", "dash"),
    "span": ("#A16207", "triangle-up", "dot"),
    "balanced": ("#848B98", "triangle-down", "dot"),
    "knapsack": ("#C026D3", "star", "dashdot"),
    "greedy": ("#6366F1", "circle-open", "solid"),
    "swaps": ("#0E9C7C", "circle", "solid"),
    "random": ("#848B98", "x-thin-open", "solid"),
}


def on_front(result: SearchResult) -> np.ndarray:
    """Which plans no other one beats in both what is saved and the KL on the judging windows: bool (plans,)."""
    return pareto_front(result.kl, -result.saved)


def front(result: SearchResult, plan: Plan, units: str) -> go.Figure:
    """KL on the judging windows against what is saved.

    Parameters
    ----------
    result : SearchResult
    plan : Plan
        Is ringed if it is among them.
    units : str
        What the budget counts, in words.

    Returns
    -------
    Figure
        The first ``customdata`` of a point is the whole plan.
    """
    figure = go.Figure()
    best = on_front(result)
    steps = sorted(np.flatnonzero(best), key=lambda i: result.saved[i])
    figure.add_scatter(
        x=[style.rounded(result.saved[i]) for i in steps],
        y=[style.rounded(result.kl[i]) for i in steps],
        mode="lines", line={"color": style.LINE, "dash": "dot", "shape": "hv"}, hoverinfo="skip", name="front",
    )  # fmt: skip
    for name in dict.fromkeys(result.strategies):
        _strategy(figure, result, name)
    here = [i for i, text in enumerate(result.plans) if parse(text) == plan]
    if plan and here:
        figure.add_scatter(
            x=[style.rounded(result.saved[here[0]])], y=[style.rounded(result.kl[here[0]])], mode="markers",
            marker={"symbol": "circle-open", "size": 20, "color": style.DROP, "line": {"width": 2}},
            name="the plan", hoverinfo="skip",
        )  # fmt: skip
    figure.update_xaxes(style.axis(f"saved share of all {units}", tickformat=".0%", rangemode="tozero"))
    figure.update_yaxes(style.axis("KL(dense‖plan), nats per token", **scales.log_axis([*result.kl_low, *result.kl_high])))
    return style.frame(figure, 420 + 14 * len(figure.data), f"front {result.unit}", finding=_reach(result, steps, units))


def _reach(result: SearchResult, steps: list[int], units: str) -> str:
    """What the largest saving costs, in words."""
    if not steps:
        return ""
    last = steps[-1]
    return (
        f"Saving {result.saved[last]:.1%} of all {units} costs a KL of {style.number(result.kl[last])} nats per token "
        f"({NAME[result.strategies[last]]})"
    )


def _strategy(figure: go.Figure, result: SearchResult, name: str) -> None:
    """The plans of one strategy; random ones have no line and no intervals, they are the background."""
    places = [i for i, each in enumerate(result.strategies) if each == name]
    colour, symbol, dash = _LOOK[name]
    chance = name == "random"
    values = np.maximum(result.kl[places], 1e-12)
    figure.add_scatter(
        x=[style.rounded(result.saved[i]) for i in places],
        y=[style.rounded(value) for value in values],
        error_y=None if chance else {
            "type": "data", "symmetric": False, "thickness": 1, "width": 3, "color": style.pale(colour, 0.6),
            "array": [style.rounded(result.kl_high[i] - result.kl[i]) for i in places],
            "arrayminus": [style.rounded(result.kl[i] - result.kl_low[i]) for i in places],
        },
        mode="markers" if chance else "lines+markers",
        line={"color": colour, "dash": dash, "width": 1.5},
        marker={"color": colour, "symbol": symbol, "size": 7 if chance else 9, "line": {"color": colour, "width": 1.5}},
        customdata=[[result.plans[i], _words(result, i)] for i in places],
        hovertemplate="%{customdata[1]}<extra></extra>",
        name=NAME[name],
        **style.UNFADED,
    )  # fmt: skip


def _words(result: SearchResult, i: int) -> str:
    low, high = result.kl_low[i], result.kl_high[i]
    return (
        f"<b>{style.plan_name(result.plans[i])}</b><br>{NAME[result.strategies[i]]}, for a budget of "
        f"{result.shares[i]:.1%}<br>saves {result.saved[i]:.1%}<br>KL {style.number(result.kl[i])} nats per token (95 %: "
        f"{style.number(low)} to {style.number(high)})<br>on the selection windows "
        f"{style.number(result.chosen_kl[i])}<br>{result.top1[i]:.1%} of tokens keep their likeliest next token<br>Click to "
        "make it the plan"
    )


def partial(found: SoFar, units: str) -> go.Figure:
    """What a search has measured so far: every plan as a small point, the front of them as a line.

    Returns
    -------
    Figure
        The first ``customdata`` of a point is the whole plan.
    """
    steps = sorted(np.flatnonzero(found.front), key=lambda i: found.saved[i])
    others = [i for i in range(len(found.plans)) if not found.front[i]]
    looks = (("beaten", others, "markers", style.MUTED, 5), ("front so far", steps, "lines+markers", style.DROP, 9))
    figure = go.Figure()
    for name, places, mode, colour, size in looks:
        figure.add_scatter(
            x=[style.rounded(found.saved[i]) for i in places],
            y=[style.rounded(max(found.kl[i], 1e-12)) for i in places],
            mode=mode, name=name, line={"color": colour, "dash": "dot", "shape": "hv"}, marker={"color": colour, "size": size},
            customdata=[
                [plan, f"{style.plan_name(plan)}<br>saves {found.saved[i]:.1%}, KL {style.number(found.kl[i])}"]
                for i in places
                for plan in [found.plans[i]]
            ],
            hovertemplate="%{customdata[1]}<extra></extra>", **style.UNFADED,
        )  # fmt: skip
    figure.update_xaxes(style.axis(f"saved share of all {units}", tickformat=".0%", rangemode="tozero"))
    figure.update_yaxes(style.axis("KL on the selection windows, nats per token", **scales.log_axis(found.kl)))
    ends = [(found.saved[i], found.kl[i]) for i in steps[-1:]]
    finding = "".join(f"So far: saving {saved:.1%} of all {units} costs a KL of {style.number(kl)} nats" for saved, kl in ends)
    return style.frame(figure, 380, "partial", finding=finding)


def table(result: SearchResult) -> list[dict]:
    """Every plan found as a row, those that save most first."""
    best = on_front(result)
    rows = [
        {
            "plan": result.plans[i], "strategy": NAME[result.strategies[i]], "saved": result.saved[i],
            "KL": result.kl[i], "from": result.kl_low[i], "to": result.kl_high[i], "KL when chosen": result.chosen_kl[i],
            "perplexity": float(np.exp(min(result.nll[i], 700))), "same top token": result.top1[i], "front": bool(best[i]),
        } | ({"KL, continued": float(result.continued_kl[i].mean())} if result.continued_kl.size else {})
        for i in range(len(result.plans))
    ]  # fmt: skip
    return sorted(rows, key=lambda row: (-row["saved"], row["KL"]))
