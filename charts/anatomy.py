"""Where the parameters of a model are, layer by layer, and which of them a plan drops."""

from collections.abc import Sequence

import plotly.graph_objects as go

from charts import scales, style
from models.anatomy import Anatomy
from plans.drops import LETTERS
from plans.plan import Plan

_PARTS = (("attention", "Attention", style.ATTENTION), ("mlp", "MLP", style.MLP), ("norms", "Norms and other", style.MUTED))


def by_layer(known: Anatomy) -> list[dict]:
    """Parameters of each layer as rows for `sizes`."""
    kinds = {"attention": "attention", "mlp": "mlp", "norms": "shared"}
    return [
        {"layer": i, **{name: sum(part.parameters for part in known.parts if part.layer == i and part.kind == kind)
                        for name, kind in kinds.items()}}
        for i in range(known.layers)
    ]  # fmt: skip


def sizes(rows: Sequence[dict], plan: Plan | None = None) -> go.Figure:
    """Stacked bars of parameters per layer.

    Parameters
    ----------
    rows : sequence of dict
        ``layer``, ``attention``, ``mlp`` and, where not counted in these, ``norms``: numbers of parameters.
    plan : Plan, optional
        What it drops is hatched.

    Returns
    -------
    Figure
        The first ``customdata`` of a bar is its part of a plan; of norms, the block.
    """
    plan = plan or Plan()
    total = sum(row.get(part, 0) for row in rows for part, *_ in _PARTS) or 1
    figure = go.Figure()
    for part, name, colour in _PARTS:
        if not any(row.get(part, 0) for row in rows):
            continue
        gone = style.dropped_layers(plan, part if part in LETTERS else "block")
        figure.add_bar(
            x=[row["layer"] for row in rows],
            y=[row.get(part, 0) for row in rows],
            marker=style.marker(colour, [row["layer"] in gone for row in rows]),
            customdata=[_item(row, part, name, total, row["layer"] in gone) for row in rows],
            hovertemplate="%{customdata[1]}<extra></extra>",
            name=name,
            **style.UNFADED,
        )
    if plan:
        figure.add_trace(style.dropped_item())
    shares = {name: sum(row.get(part, 0) for row in rows) / total for part, name, _ in _PARTS}
    most = max(shares, key=shares.get)
    finding = f"{most} holds {100 * shares[most]:.0f} % of the parameters of all layers"
    figure.update_xaxes(scales.layer_axis(len(rows), "layer"))
    figure.update_yaxes(style.axis("parameters", nticks=4, exponentformat="SI"))
    return style.frame(figure, 240, "sizes", finding=finding, barmode="stack", bargap=0.2, legend_traceorder="normal")


def _item(row: dict, part: str, name: str, total: float, gone: bool) -> list[str]:
    """A bar's part of a plan, and its sentence."""
    count = row.get(part, 0)
    return [
        f"{LETTERS[part if part in LETTERS else 'block']}{row['layer']}",
        f"<b>{name} of layer {row['layer']}</b>: {style.count(count)} parameters<br>"
        f"{100 * count / total:.2f} % of the parameters of all layers<br>{style.invitation(gone)}",
    ]
