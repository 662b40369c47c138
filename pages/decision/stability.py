"""Whether other calibration text, BOS, the chat template or another seed would choose other drops."""

import streamlit as st

from charts.search import stability as charts
from charts.search.search import NAME
from pages import shell
from probes.search.params import STRATEGIES
from probes.search.stability import StabilityResult
from texts.corpus import NAMES


def draw(base: str, given: dict) -> None:
    """The same choice on other windows, another text, with BOS and in the chat template."""
    row = st.container(horizontal=True, vertical_alignment="bottom")
    strategy = row.selectbox(
        "Strategy", STRATEGIES, STRATEGIES.index("kl"), key="stable_strategy", format_func=NAME.__getitem__, width=220,
    )  # fmt: skip
    texts = [name for name in NAMES if name != st.session_state.corpus]
    other = row.selectbox(
        "Another text", ["", *texts], 1, key="stable_other", width=220, format_func=lambda name: name or "none"
    )
    params = {name: given[name] for name in ("unit", "share", "parts", "seed")} | {"strategy": strategy, "other": other}
    answer = shell.ask(
        "stability",
        "Repeat the selection",
        "Runs the strategy for the largest budget on each variant of the text. Takes several scans; greedy and swaps take "
        "longer.",
        plan=base,
        params=params,
        page="stability",
    )  # fmt: skip
    if answer is None:
        return
    _shown(answer.result)
    shell.provenance(answer)


def _shown(result: StabilityResult) -> None:
    shell.clickable(charts.chosen(result), "stable", "Which sublayers each variant drops")
    percent, four = st.column_config.NumberColumn(format="percent"), st.column_config.NumberColumn(format="%.4f")
    shell.table(
        charts.table(result), key="stable_table", alt="Selections by variant", selection_mode="single-row",
        on_select=shell.row_plan("stable_table", result.plans),
        column_config={"in common": percent, "KL": four, "from": four, "to": four},
    )  # fmt: skip
    st.caption(
        "In common: sublayers dropped by both this plan and the first, as a share of those dropped by either. Mean over all "
        f"pairs {result.mean_overlap:.0%}, about {result.chance_overlap:.0%} expected by chance. KL in nats per token with "
        "its 95 % interval, on the second, held-out half of this text's windows. Pale marks: not dropped by the first plan. "
        "Select a row to make it the plan.",
        help=shell.about("in common", "KL", "from"),
    )
    for name, why in result.missing.items():
        st.caption(shell.plain(f"Skipped “{name}”: {why}"))
