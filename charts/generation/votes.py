"""What voters prefer: win rates and strengths, with intervals."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from charts import style
from charts.deviation.spaces import PLANS, SYMBOLS
from probes.generation.votes import Rate
from refusal import plural


def rates(found: Sequence[Rate], names: Sequence[str]) -> go.Figure:
    """How often each plan is preferred to the dense model, with its 95 % interval; one half is no preference."""
    figure = go.Figure()
    for place, each in enumerate(found):
        if not each.prompts:
            continue
        figure.add_scatter(
            x=[style.rounded(each.rate)], y=[style.plan_name(names[each.second])], mode="markers",
            error_x={"type": "data", "symmetric": False, "array": [style.rounded(each.high - each.rate)],
                     "arrayminus": [style.rounded(each.rate - each.low)]} if np.isfinite(each.low) else None,
            marker={"color": PLANS[place % len(PLANS)], "symbol": SYMBOLS[place % len(SYMBOLS)], "size": 12},
            hovertemplate=(
                f"preferred in {each.rate:.0%} of votes, a tie counts as half<br>{each.won} won, {each.lost} lost, "
                f"{each.tied} tied on {plural(each.prompts, 'prompt')}: {each.says}<extra></extra>"
            ),
            showlegend=False,
        )  # fmt: skip
    figure.add_vline(x=0.5, line={"color": style.LINE, "dash": "dot"})
    figure.update_xaxes(style.axis("preferred to the dense model", range=[0, 1], tickformat=".0%"))
    figure.update_yaxes(style.axis("plan"))
    said = [f"{style.plan_name(names[each.second])} {each.rate:.0%} ({each.says})" for each in found if each.prompts]
    finding = f"Preferred to the dense model: {', '.join(said)}" if said else ""
    return style.frame(figure, 120 + 50 * len(found), "rates", finding=finding)


def table(found: Sequence[Rate], names: Sequence[str], strength: Sequence[np.ndarray]) -> list[dict]:
    """A row for each plan beside the dense model; ``strength`` holds Bradley–Terry strengths with low and high."""
    return [
        {
            "plan": names[each.second], "verdict": each.says, "preferred": each.rate, "from": each.low, "to": each.high,
            "won": each.won, "lost": each.lost, "tied": each.tied, "identical": each.alike, "prompts": each.prompts,
            "strength": float(strength[0][each.second]), "strength from": float(strength[1][each.second]),
            "strength to": float(strength[2][each.second]),
        }
        for each in found
    ]  # fmt: skip
