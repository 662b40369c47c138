"""Scores of tasks: how much better or worse the pruned model is, with intervals, and all numbers as rows."""

import math

import plotly.graph_objects as go

from charts import style
from measures.significance import paired
from probes.tasks.evaluate import EvaluateResult
from refusal import plural


def verdict(metric: dict, items: int) -> str:
    """In words, from McNemar's test where there is one, else from the interval."""
    if "difference" not in metric:
        return "no value for each item"
    found = paired.verdict(metric["difference"], metric["low"], metric["high"], items, metric.get("p"))
    if not found:
        return paired.in_words(found, metric["difference"], items, metric.get("p"))
    return "better" if (found > 0) == metric["better"] else "worse"


def differences(result: EvaluateResult) -> go.Figure:
    """Pruned minus dense for every metric that has a value for each item, with its 95 % interval.

    Returns
    -------
    Figure
        A row per task and metric; an interval that touches the line at 0 is no difference.
    """
    rows = [(task, metric) for task in result.tasks for metric in task["metrics"] if "difference" in metric]
    figure = go.Figure()
    if rows:
        values = [metric["difference"] for _, metric in rows]
        figure.add_scatter(
            x=values,
            y=list(range(len(rows))),
            mode="markers",
            marker={"size": 10, "color": style.DROP},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [_length(metric["high"], metric["difference"]) for _, metric in rows],
                "arrayminus": [_length(metric["difference"], metric["low"]) for _, metric in rows],
                "color": style.DROP,
                "thickness": 2,
            },
            customdata=[[_words(task, metric)] for task, metric in rows],
            hovertemplate="%{customdata[0]}<extra></extra>",
            showlegend=False,
        )
    figure.add_vline(x=0, line={"color": style.LINE, "width": 1.5, "dash": "dot"})
    figure.update_xaxes(style.axis("pruned minus dense", nticks=8))
    names = [f"{style.shortened(task['name'], 24)}, {metric['name']}" for task, metric in rows]
    ticks = {"tickmode": "array", "tickvals": list(range(len(rows))), "ticktext": names}
    figure.update_yaxes(style.axis("task and metric", showgrid=False, range=[len(rows) - 0.5, -0.5], **ticks))
    said = [verdict(metric, task["items"]) for task, metric in rows]
    finding = (
        f"Of {plural(len(rows), 'score')}, significantly worse: {said.count('worse')}; significantly better: "
        f"{said.count('better')}"
        if rows
        else ""
    )
    return style.frame(figure, 120 + 44 * max(1, len(rows)), "differences", finding=finding)


def _length(high: float, low: float) -> float:
    """Of one side of an interval; 0 where there is none."""
    return high - low if math.isfinite(high - low) else 0.0


def _words(task: dict, metric: dict) -> str:
    counts = f"<br>{metric['won']} won, {metric['lost']} lost, McNemar p {metric['p']:.3f}" if "p" in metric else ""
    return (
        f"{task['name']}, {metric['name']}: {style.number(metric['dense'])} → {style.number(metric['pruned'])}<br>"
        f"{metric['difference']:+.4f} ({metric['low']:+.4f} to {metric['high']:+.4f}): {verdict(metric, task['items'])}{counts}"
    )


def table(result: EvaluateResult) -> list[dict]:
    """Every metric of every task as a row."""
    return [
        {
            "task": task["name"], "metric": metric["name"], "items": task["items"], "dense": metric["dense"],
            "pruned": metric["pruned"], "difference": metric.get("difference"), "from": metric.get("low"),
            "to": metric.get("high"), "won": metric.get("won"), "lost": metric.get("lost"), "McNemar p": metric.get("p"),
            "verdict": verdict(metric, task["items"]),
        }
        for task in result.tasks
        for metric in task["metrics"]
    ]  # fmt: skip
