"""The same choice as the strip's, as plain buttons: for whom the strip does not work."""

import streamlit as st

from pages import shell
from plans.drops import Drops, dropped
from plans.plan import Plan

_ROWS = {"attention": "Attention", "mlp": "MLP", "blocks": "Whole block"}


def draw(layers: int, plan: Plan) -> None:
    """A row of toggles per kind; the attention and MLP of a dropped block are dropped too, and look so."""
    for kind, places in _places(dropped(plan)).items():
        st.session_state[f"grid_{kind}"] = sorted(places)
        st.pills(
            _ROWS[kind], range(layers), selection_mode="multi", key=f"grid_{kind}", on_change=_changed, args=(kind,),
            help=f"Click a layer to drop its {_ROWS[kind]} or put it back." if kind != "blocks" else
            "A block is the attention and the MLP of one layer; dropping both drops the block.",
        )  # fmt: skip


def _places(drops: Drops) -> dict[str, frozenset[int]]:
    return {"attention": drops.no_attention, "mlp": drops.no_mlp, "blocks": drops.blocks}


def _changed(kind: str) -> None:
    """Callback: the plan with what was switched on or off in one row; the others follow."""
    plan, chosen = shell.current_plan(), frozenset(st.session_state[f"grid_{kind}"])
    there = _places(dropped(plan))
    added, removed = chosen - there[kind], there[kind] - chosen
    for part in ("attention", "mlp") if kind == "blocks" else (kind,):
        there[part] = there[part] - removed | added
    shell.set_plan(plan.put(Drops(there["attention"], there["mlp"])))
