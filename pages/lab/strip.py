"""The strip: every attention, MLP and block as a cell to click, tinted by how redundant it was measured to be."""

from pathlib import Path

import streamlit as st

from charts import strip as picture
from charts import style
from pages import shell
from plans.drops import Drops, dropped
from plans.plan import Plan

_HTML = """<div class="strip"><div class="grid" role="grid" aria-label="Layers: attention, MLP and block of each"
aria-rowcount="4" aria-multiselectable="true"></div><p class="readout" aria-hidden="true"></p></div>"""


def draw(layers: int, plan: Plan) -> None:
    """The strip and its legend."""
    scan = shell.known("drop_scan")
    similarity = None if scan else shell.known("similarity")
    measure = picture.measured(scan and scan.result, similarity and similarity.result)
    drops, last = dropped(plan), _message()

    def changed() -> None:
        message = _message()
        parts = (frozenset(each for each in message[part] if each in range(layers)) for part in ("attention", "mlp"))
        shell.set_plan(shell.current_plan().put(Drops(*parts)))

    shell.component("strip", _HTML, Path(__file__).parent)(
        key="strip", on_dropped_change=changed,
        data={
            "layers": layers, "rows": picture.rows(layers, measure), "read": last["number"],
            "dropped": {"attention": sorted(drops.no_attention), "mlp": sorted(drops.no_mlp)},
        },
    )  # fmt: skip
    st.caption(_legend(measure))


def _message() -> dict:
    """The last that the strip sent: its number, and what it then showed as dropped."""
    state = st.session_state.get("strip") or {}
    return state.get("dropped") or {"number": 0, "attention": [], "mlp": []}


def _legend(measure: picture.Measured | None) -> str:
    ways = "Click to drop or put back; drag or hold Shift for a range; double-click for the block. ✕: dropped, ◩: in part."
    if measure is None:
        return f"{ways} Measure similarity or scan all drops to see here how redundant each part is."
    low, high = (f"{style.number(cost)} {measure.unit}".rstrip() for cost in measure.range)
    what = {
        "KL": "KL(dense‖without it) of each part dropped alone, from the drop scan",
        "1 − cosine": "1 − cosine of the residual stream before and after each part, from similarity",
    }[measure.name]
    return f"{ways} Fuller and darker: more redundant ({what}; {low} to {high}, on a logarithmic scale)."
