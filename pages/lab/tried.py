"""The plans tried on the model and text at hand, from the store, so that everybody's show and none is lost."""

import streamlit as st

from charts import style
from charts.deviation import tried as charts
from models.anatomy import Anatomy
from pages import shell
from pages.shell import KEPT
from plans.cost import kept
from plans.plan import parse
from probes.answer import Answer
from refusal import Refusal


def table(dense: Anatomy, there: dict[str, Answer]) -> None:
    """Every measured plan, the least damage first, beside damage against size; ``there`` was read already."""
    rows = [row for plan, answer in shell.tried("fidelity", there) if (row := _row(dense, plan, answer.result))]
    if not rows:
        return
    rows.sort(key=lambda row: row["kl"])
    st.markdown("**Plans tried on this model and text**")
    names = {what: name for name, what in charts.SAVED.items()}  # a link holds what is shown
    chosen = st.segmented_control(
        "Saved", list(names), default=charts.SAVED["nonzero"], key="tried_by", required=True, **KEPT,
        help="What the chart counts. Pruned weights are zero and keep their place; chosen keys stay in the cache.",
    )  # fmt: skip
    by = names[chosen]
    counted = [row for row in rows if row["parameters"] is not None]
    shell.clickable(
        charts.tried(counted, by), "tried", f"KL against {charts.SAVED[by]} kept", on_select=lambda: shell.point_plan("tried")
    )
    shares = {
        name: st.column_config.NumberColumn(style.capital(what), format="percent", help="Share of the dense model’s.")
        for name, what in charts.SAVED.items()
    }
    shell.table(
        rows, key="tried_table", alt="Plans tried", selection_mode="single-row",
        on_select=shell.row_plan("tried_table", [row["plan"] for row in rows]),
        column_order=["plan", "kl", "perplexity", "top1", *charts.SAVED],
        column_config={
            "plan": st.column_config.TextColumn("Plan", width="medium"),
            "kl": st.column_config.NumberColumn("KL, nats", format="%.4f"),
            "perplexity": st.column_config.NumberColumn("Perplexity", format="%.4g"),
            "top1": st.column_config.NumberColumn("Same top token", format="percent"),
            **shares,
        },
    )  # fmt: skip
    st.caption("Selecting a row or clicking a point replaces the plan.")


def _row(dense: Anatomy, plan: str, result) -> dict | None:
    """One plan; without its cost where the model is not in memory and it was never counted."""
    try:
        left = shell.cost(dense, parse(plan))
    except Refusal:
        return None
    return {
        "plan": plan,
        **(kept(dense, left, parse(plan)) if left else dict.fromkeys(charts.SAVED)),
        "kl": result.kl,
        "perplexity": result.perplexity,
        "dense_perplexity": result.dense_perplexity,
        "top1": result.top1_agreement,
    }
