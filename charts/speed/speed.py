"""Times of dense and pruned model round by round, how many times as fast plans are, and the memory they take."""

from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from charts import style
from probes.speed.pace import Pace
from probes.speed.speed import Memory, SpeedResult

PHASES = {"prefill": "Prefill", "decode": "Decode"}
_NAMES = ("dense", "pruned")
_COLOURS = (style.MUTED, style.DROP)


def rounds(result: SpeedResult) -> go.Figure:
    """Every time that was taken, with medians and quartiles.

    Returns
    -------
    Figure
        Two panels, prefill and decode; a point for each round and model, a diamond at the median, a line over the quartiles.
    """
    units = {"prefill": "milliseconds per prompt", "decode": "milliseconds per step"}
    if result.batch > 1:
        units["prefill"] = f"milliseconds per {result.batch} prompts"
    figure = make_subplots(1, 2, horizontal_spacing=0.14, subplot_titles=[f"<b>{name}</b>" for name in PHASES.values()])
    for column, phase in enumerate(PHASES, 1):
        pace: Pace = getattr(result, phase)
        sides = ((pace.dense_seconds, pace.dense_low, pace.dense, pace.dense_high),
                 (pace.seconds, pace.pruned_low, pace.pruned, pace.pruned_high))  # fmt: skip
        for name, colour, (seconds, low, middle, high) in zip(_NAMES, _COLOURS, sides, strict=True):
            place = {"row": 1, "col": column}
            figure.add_scatter(
                x=[1e3 * each for each in seconds], y=[name] * len(seconds), mode="markers", showlegend=False,
                marker={"size": 8, "color": style.pale(colour, 0.45), "line": {"width": 0}},
                customdata=[[i] for i in range(1, len(seconds) + 1)],
                hovertemplate=f"{name}, round %{{customdata[0]}}: %{{x:.4~g}} ms<extra></extra>", **place,
            )  # fmt: skip
            figure.add_scatter(
                x=[1e3 * low, 1e3 * middle, 1e3 * high], y=[name] * 3, mode="lines+markers", showlegend=False,
                line={"color": colour, "width": 2}, marker={"size": [0, 12, 0], "symbol": "diamond", "color": colour},
                hovertemplate=f"{name}, median: {style.number(1e3 * middle)} ms<br>middle half of the rounds: "
                f"{style.number(1e3 * low)} to {style.number(1e3 * high)} ms<extra></extra>", **place,
            )  # fmt: skip
        figure.update_xaxes(style.axis(units[phase], rangemode="tozero", nticks=6), row=1, col=column)
    figure.update_yaxes(style.axis("model", showgrid=False, categoryorder="array", categoryarray=list(_NAMES[::-1])))
    says = "; ".join(f"{name}: {getattr(result, phase).says}" for phase, name in PHASES.items())
    return style.frame(figure, 230, "rounds", 26, finding=says)


def ratios(results: dict[str, SpeedResult]) -> go.Figure:
    """How many times as fast as the dense model each plan is, with its interval.

    Parameters
    ----------
    results : dict of str to SpeedResult
        By plan.

    Returns
    -------
    Figure
        A row per plan; an interval that touches the line at 1 is no difference. The first ``customdata`` is the
        plan. Marks are open where the machine had other work to do.
    """
    figure, plans = go.Figure(), list(results)
    names = [style.plan_name(plan) for plan in plans]
    disturbed = {plan: where.says for plan in plans if not (where := results[plan].circumstances).quiet}
    looks = zip(PHASES.items(), (style.BLOCK, style.ATTENTION), ("circle", "square"), (-0.12, 0.12), strict=True)
    for (phase, title), colour, symbol, shift in looks:
        paces: list[Pace] = [getattr(results[plan], phase) for plan in plans]
        said = [f"{title}, {name}: {each.says}" for name, each in zip(names, paces, strict=True)]
        figure.add_scatter(
            x=[style.rounded(each.ratio) for each in paces],
            y=[i + shift for i in range(len(plans))],
            mode="markers",
            name=title,
            marker={"size": 10, "color": colour, "symbol": [symbol + "-open" * (plan in disturbed) for plan in plans]},
            error_x=_intervals(paces, colour),
            customdata=[
                [plan, text + (f"<br>{disturbed[plan]}" if plan in disturbed else "")]
                for plan, text in zip(plans, said, strict=True)
            ],
            hovertemplate="%{customdata[1]}<extra></extra>",
            **style.UNFADED,
        )
    if disturbed:
        look = {"symbol": "circle-open", "size": 10, "color": style.MUTED}
        figure.add_trace(style.legend_item("measured while other work ran", marker=look))
    figure.add_vline(x=1, line={"color": style.LINE, "width": 1.5, "dash": "dot"})
    figure.update_xaxes(style.axis("times as fast as dense", nticks=8))
    ticks = {"tickmode": "array", "tickvals": list(range(len(plans))), "ticktext": names}
    figure.update_yaxes(style.axis("plan", showgrid=False, range=[len(plans) - 0.5, -0.5], **ticks))
    fastest = max(plans, key=lambda plan: results[plan].decode.ratio, default="")
    finding = f"Fastest at decoding, {style.plan_name(fastest)}: {results[fastest].decode.says}" if plans else ""
    return style.frame(figure, 130 + 44 * len(plans), "ratios", finding=finding)


def _intervals(paces: Sequence[Pace], colour: str) -> dict:
    """The 95 % intervals of ratios, as error bars."""
    above, below = [each.ratio_high - each.ratio for each in paces], [each.ratio - each.ratio_low for each in paces]
    return {"type": "data", "symmetric": False, "array": above, "arrayminus": below, "color": colour, "thickness": 2}


def memory(found: Memory) -> go.Figure:
    """Weights, cache and what a run took beside them, dense and pruned, in MB."""
    figure = go.Figure()
    parts = {
        "weights": (found.dense_weights, found.weights),
        "KV cache": (found.dense_cache, found.cache),
        "other memory at the peak": (
            max(0, found.dense_peak - found.dense_before - found.dense_cache),
            max(0, found.peak - found.before - found.cache),
        ),
    }
    colours = (style.BLOCK, style.ATTENTION, style.MLP)
    for (name, sizes), colour in zip(parts.items(), colours, strict=True):
        figure.add_bar(
            y=list(_NAMES), x=[style.rounded(size / 1e6) for size in sizes], name=name, orientation="h",
            marker={"color": colour, "line": {"width": 0}}, customdata=[[style.number(size / 1e6)] for size in sizes],
            hovertemplate=f"{name}: %{{customdata[0]}} MB<extra></extra>", **style.UNFADED,
        )  # fmt: skip
    figure.update_xaxes(style.axis("MB", rangemode="tozero", nticks=8))
    figure.update_yaxes(style.axis("model", showgrid=False, autorange="reversed"))
    finding = f"Weights take {style.number(found.weights / 1e6)} MB, dense {style.number(found.dense_weights / 1e6)} MB"
    return style.frame(figure, 200, "memory", finding=finding, barmode="stack", bargap=0.35)


def table(results: dict[str, SpeedResult]) -> list[dict]:
    """The numbers of every plan as rows; times in ms, rates in tokens per second, memory in MB."""
    return [
        {
            "plan": plan or "dense",
            **{
                f"{phase}{unit}": value
                for phase in PHASES
                for unit, value in (
                    (", ms", 1e3 * getattr(result, phase).pruned),
                    (", tokens/s", getattr(result, phase).rate),
                    (", times as fast", getattr(result, phase).ratio),
                    (", verdict", getattr(result, phase).says),
                )
            },
            "weights, MB": result.memory.weights / 1e6,
            "KV cache, MB": result.memory.cache / 1e6,
            "measured": result.circumstances.says,
        }
        for plan, result in results.items()
    ]
