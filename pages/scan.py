"""What each attention, MLP and block costs, by leaving it out; click to drop it for good."""

import math

import streamlit as st

from charts import style
from charts.scan import drop_scan as charts
from pages import shell
from pages.shell.begin import base_plan
from plans.operation import Shape
from plans.plan import Plan
from probes.scan.drop_scan import DropScanResult

_SCORES = {
    "similarity": "1 − cosine",
    "length": "relative length",
    "gradient": "first-order estimate",
    "gradient_absolute": "first-order estimate, absolute",
    "gradient_size": "first-order estimate, absolute by token",
}
_PARTS = {"attention": "attention", "mlp": "MLP", "block": "block", "joint": "attention and MLP"}
_MODES = {"tokens after those that skip": "future", "tokens that skip": "current"}

shell.menu_first()


def _costs(result: DropScanResult, plan: Plan) -> None:
    """The scan itself."""
    measure, log = shell.beside("measure", [3, 1])
    chosen = measure.selectbox(
        "Measure", list(charts.MEASURES), key="scan_measure", format_func=lambda name: charts.MEASURES[name][0],
        persist_state="session",
    )  # fmt: skip
    logarithmic = log.toggle("Logarithmic", value=True, key="scan_log", disabled=chosen != "kl", persist_state="session")
    shell.clickable(charts.damage(result, plan, chosen, logarithmic), "damage", "Cost of each drop by layer")
    st.caption(
        "Each point is the model without that one part, compared with the dense model on this text: the lower the KL, the less "
        "the part is needed. Lines are 95 % intervals over windows of text; click a point to drop the part or put it back."
    )


def _agreements(result: DropScanResult) -> None:
    """How well each score ranks what was measured, and where it is wrong."""
    rows = [
        {
            "score": _SCORES[row["score"]],
            "of": _PARTS[row["part"]],
            "Spearman ρ": row["spearman"],
            "Kendall τ": row["kendall"],
            "drops": row["count"],
            "ranks furthest apart": ", ".join(
                f"{each['item']} ({each['score_rank']:g} by score, {each['measured_rank']:g} by KL)" for each in row["apart"]
            ),
        }
        for row in result.agreements
    ]
    formats = {name: st.column_config.NumberColumn(format="%.2f") for name in ("Spearman ρ", "Kendall τ")}
    shell.table(rows, key="agreements", column_config=formats, alt="Rank correlations with the measured KL")
    st.caption(
        "Scores that need no drop, compared with the measured KL of each drop. 1: same order; 0: unrelated. Rank 1 is the "
        "most redundant; the drops named are those whose two ranks differ most."
    )


def _skips(result: DropScanResult, plan: Plan) -> None:
    """The heat map of skip effects, and the depth scores."""
    mode = _MODES[st.selectbox("Measured on", list(_MODES), key="skip_mode", persist_state="session")]
    if not math.isfinite(result.depth[mode][0]):
        st.info("These windows are too short to measure what a skip does to later tokens. Ask for windows of 4 tokens or more.")
        return
    shell.clickable(charts.skips(result, plan, mode), "skips", "Effect of skipping one layer on what later layers add")
    score, low, high = result.depth[mode]
    interval = f", 95 % interval {style.number(low)} to {style.number(high)}" if math.isfinite(low) else ""
    st.caption(
        "A row is a skipped layer, a column a later one; a light cell: the later layer adds the same without it. Depth score "
        f"{style.number(score)} of {result.layers - 1}{interval}: the layer around which skips still change what later layers "
        "add."
    )


shell.anatomy_or_stop("scan")
base = base_plan(
    "scan", "Each drop is measured on top of this plan. Clicking a chart changes the plan in the sidebar, not this one."
)
if base is None:
    shell.stop()
answer = shell.ask(
    "drop_scan",
    "Scan all drops",
    "Drops each attention, MLP and block in turn: about half as many forward passes as there are drops.",
    plan=base,
    page="scan",
)
if answer is None:
    shell.stop()
result: DropScanResult = answer.result
plan = shell.current_plan(Shape(result.layers))
shell.provenance(answer)

shell.tabs(
    "scan_view",
    {
        "Cost of each drop": lambda: _costs(result, plan),
        "Cheap scores": lambda: _agreements(result),
        "Skip effects": lambda: _skips(result, plan),
    },
)
shell.around("scan", result.layers)
shell.next_page("scan")
