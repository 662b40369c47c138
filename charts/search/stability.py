"""What each variant of the calibration chose, and what the choices cost on the same windows."""

import plotly.graph_objects as go

from charts import scales, style
from plans.plan import Plan, parse
from probes.search.stability import StabilityResult

_KINDS = (("attention", "a", style.ATTENTION, "square", -0.16), ("mlp", "m", style.MLP, "circle", 0.16))


def chosen(result: StabilityResult) -> go.Figure:
    """Which attention and MLP each variant drops.

    Returns
    -------
    Figure
        A row per variant, squares for attention and circles for MLPs along the layers; pale where the first variant does not
        drop them. The first ``customdata`` is the part of a plan.
    """
    figure = go.Figure()
    plans = [parse(plan) for plan in result.plans]
    first = {kind: style.dropped_layers(plans[0], kind) for kind, *_ in _KINDS}
    for kind, letter, colour, symbol, shift in _KINDS:
        x, y, colours, texts = [], [], [], []
        for row, plan in enumerate(plans):
            for layer in sorted(style.dropped_layers(plan, kind)):
                times = sum(layer in style.dropped_layers(each, kind) for each in plans)
                x.append(layer)
                y.append(row + shift)
                colours.append(colour if layer in first[kind] else style.pale(colour, 0.4))
                name = "attention" if kind == "attention" else "MLP"
                texts.append([f"{letter}{layer}", f"{name} of layer {layer}: chosen by {times} of {len(plans)}"])
        figure.add_scatter(
            x=x, y=y, mode="markers", name="attention" if kind == "attention" else "MLP", customdata=texts,
            marker={"size": 11, "symbol": symbol, "color": colours}, hovertemplate="%{customdata[1]}<extra></extra>",
            **style.UNFADED,
        )  # fmt: skip
    figure.update_xaxes(scales.layer_axis(result.layers, range=[-0.6, result.layers - 0.4]))
    ticks = {"tickmode": "array", "tickvals": list(range(len(plans))), "ticktext": result.variants}
    figure.update_yaxes(style.axis("chosen on", range=[len(plans) - 0.5, -0.5], **ticks))
    picks = [set(items) for items in _items(plans)]
    finding = f"{len(set.intersection(*picks))} of {len(set.union(*picks))} drops are chosen by every variant" if picks else ""
    return style.frame(figure, 140 + 44 * len(plans), "chosen", finding=finding)


def _items(plans: list[Plan]) -> list[list[str]]:
    """The sublayers that each plan drops."""
    return [[f"{letter}{i}" for kind, letter, *_ in _KINDS for i in sorted(style.dropped_layers(plan, kind))] for plan in plans]


def table(result: StabilityResult) -> list[dict]:
    """A row per variant: its plan, what it shares with the first one, and its KL on windows nothing was chosen on."""
    return [
        {
            "chosen on": name, "plan": result.plans[i], "in common": float(result.overlap[0, i]), "KL": float(result.kl[i]),
            "from": float(result.kl_low[i]), "to": float(result.kl_high[i]),
            "against the first": "" if not i else "differs" if result.differs[i] else "no significant difference",
        }
        for i, name in enumerate(result.variants)
    ]  # fmt: skip
