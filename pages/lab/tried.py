"""The plans tried on the model and text at hand, from the store, so that everybody's show and none is lost."""

import streamlit as st

from charts.deviation import fidelity
from models.subject import Subject
from pages import shell
from plans.plan import parse
from texts.corpus import cut


def table(subject: Subject) -> None:
    """Every measured plan, the least damage first, with a picture of damage against size."""
    bench = shell.workbench()
    found = shell.tried("fidelity", subject)
    if not found:
        return
    rows = []
    for plan, answer in found:
        left, result = bench.anatomy.after(parse(plan)), answer.result
        rows.append(
            {"plan": plan, "parameters": left.parameters / bench.anatomy.parameters, "kl": result.kl,
             "perplexity": result.perplexity, "dense_perplexity": result.dense_perplexity,
             "top1": result.top1_agreement, "cache": left.cache_bytes / max(1, bench.anatomy.cache_bytes)}
        )  # fmt: skip
    rows.sort(key=lambda row: row["kl"])
    st.markdown("**Plans tried on this model and text**")
    picture, listed = st.columns([1, 1])
    picture.plotly_chart(fidelity.tried(rows), key="tried", alt="KL against parameters kept", config=shell.CHART)
    percent = st.column_config.NumberColumn(format="percent")
    listed.dataframe(
        rows, hide_index=True, key="tried_table", alt="Plans tried", on_select=_pick(rows), selection_mode="single-row",
        column_order=["plan", "kl", "perplexity", "top1", "parameters", "cache"],
        column_config={
            "kl": st.column_config.NumberColumn("KL, nats", format="%.4f"),
            "perplexity": st.column_config.NumberColumn(format="%.2f"),
            "top1": st.column_config.NumberColumn("same top token", format="percent"),
            "parameters": percent, "cache": st.column_config.NumberColumn("KV cache", format="percent"),
        },
    )  # fmt: skip
    listed.caption("Select a row to make it the plan.")


def _pick(rows: list[dict]):
    def picked() -> None:
        chosen = st.session_state.tried_table.selection.rows
        if chosen:
            shell.set_plan(rows[chosen[0]]["plan"])

    return picked


def pieces(subject: Subject, window: int) -> list[list[str]]:
    """The text of each token of the corpus, window by window; only the window shown is filled in."""
    tokens = cut(shell.corpus_ref(), subject.tokenizer, subject.context).tokens
    return [subject.tokenizer.batch_decode(row[:, None]) if i == window else [] for i, row in enumerate(tokens)]
