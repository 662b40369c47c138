"""The plans tried on the model and text at hand, from the store, so that everybody's show and none is lost."""

import streamlit as st

from charts.deviation import fidelity
from models.anatomy import Anatomy
from pages import shell
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
    picture, listed = st.columns([1, 1])
    counted = [row for row in rows if row["parameters"] is not None]
    shell.chart(fidelity.tried(counted), "tried", "KL against parameters kept", picture)
    percent = st.column_config.NumberColumn(format="percent")
    listed.dataframe(
        rows, hide_index=True, key="tried_table", alt="Plans tried", on_select=_pick(rows), selection_mode="single-row",
        column_order=["plan", "kl", "perplexity", "top1", "parameters", "cache"],
        column_config={
            "kl": st.column_config.NumberColumn("KL, nats", format="%.4f"),
            "perplexity": st.column_config.NumberColumn(format="%.5g"),
            "top1": st.column_config.NumberColumn("same top token", format="percent"),
            "parameters": percent, "cache": st.column_config.NumberColumn("KV cache", format="percent"),
        },
    )  # fmt: skip
    listed.caption("Select a row to make it the plan.")


def _row(dense: Anatomy, plan: str, result) -> dict | None:
    """One plan; without its cost where the model is not in memory and it was never counted."""
    try:
        left = shell.cost(dense, parse(plan))
    except Refusal:
        return None
    return {
        "plan": plan,
        "parameters": left.parameters / dense.parameters if left else None,
        "cache": left.cache_bytes / max(1, dense.cache_bytes) if left else None,
        "kl": result.kl,
        "perplexity": result.perplexity,
        "dense_perplexity": result.dense_perplexity,
        "top1": result.top1_agreement,
    }


def _pick(rows: list[dict]):
    def picked() -> None:
        chosen = st.session_state.tried_table.selection.rows
        if chosen:
            shell.set_plan(rows[chosen[0]]["plan"])

    return picked
