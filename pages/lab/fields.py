"""Fields for what a plan thins out inside layers: weights, and the keys that attention looks at."""

from dataclasses import replace

import streamlit as st

from pages import shell
from plans.plan import Plan, parse
from plans.thinning import METHODS, MODULES
from refusal import Refusal

_AMOUNTS = ["0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "2:4", "4:8", "1:4"]
_SHARES = ["0.5", "0.25", "0.125", "0.0625"]
_PLACES = {"all": "all layers' maps", "attention": "attention", "mlp": "MLP"}


def draw(plan: Plan) -> None:
    """The fields, filled from the plan."""
    _fill(plan)
    row = st.container(horizontal=True, vertical_alignment="bottom")
    row.selectbox(
        "Prune weights by", ["none", *METHODS], key="thin_method", on_change=_changed, width=160,
        format_func=lambda name: METHODS.get(name, "none").capitalize() if name != "sparsegpt" else "SparseGPT",
        help="Sets weights inside the layers to zero. Wanda and SparseGPT look at the windows of the text that follow the "
        "measured ones. Zeros save time and memory only where the runtime has sparse kernels; this one has not.",
    )  # fmt: skip
    st.session_state.setdefault("thin_amount", "0.5")
    row.selectbox(
        "Share or N:M", _with(_AMOUNTS, st.session_state.thin_amount), key="thin_amount", accept_new_options=True, width=130,
        on_change=_changed, disabled=plan.sparsity is None, help="0.5 is half of the weights; 2:4 is two of every four inputs.",
    )  # fmt: skip
    row.selectbox(
        "In", list(MODULES), key="thin_modules", on_change=_changed, width=160, format_func=_PLACES.get,
        disabled=plan.sparsity is None,
    )  # fmt: skip
    row.selectbox(
        "Attend to keys", ["all", *_with(_SHARES, st.session_state.thin_top)], key="thin_top", on_change=_changed, width=140,
        format_func=_percent, help="Low-rank attention (Loki): the share of the keys that each token attends to.",
    )  # fmt: skip
    row.selectbox(
        "chosen in dimensions", _with(["1", *_SHARES], st.session_state.thin_dims), key="thin_dims", on_change=_changed,
        width=180, format_func=_percent, disabled=plan.keys is None,
        help="The share of each key's principal directions by which the keys are chosen; the text that follows the measured "
        "windows gives the directions.",
    )  # fmt: skip
    if error := st.session_state.pop("thin_error", None):
        st.error(error, icon=":material/error:")


def _fill(plan: Plan) -> None:
    state = st.session_state
    state.thin_method = plan.sparsity.method if plan.sparsity else "none"
    state.thin_top = f"{plan.keys.top:g}" if plan.keys else "all"
    state.thin_modules = plan.sparsity.modules if plan.sparsity else "all"
    if plan.sparsity:
        state.thin_amount = str(plan.sparsity).partition("@")[2].partition("/")[0]
    state.thin_dims = f"{plan.keys.dims:g}" if plan.keys else state.get("thin_dims", "0.25")


def _changed() -> None:
    """Callback: the plan with what the fields say."""
    state, plan = st.session_state, shell.current_plan()
    items = [f"w:{state.thin_method}@{state.thin_amount}/{state.thin_modules}"] if state.thin_method != "none" else []
    items += [f"k:{state.thin_dims}/{state.thin_top}"] if state.thin_top != "all" else []
    try:
        thin = parse(",".join(items))
    except Refusal as refusal:
        state.thin_error = str(refusal)
        return
    shell.set_plan(replace(plan, sparsity=thin.sparsity, keys=thin.keys))


def _with(options: list[str], chosen: str) -> list[str]:
    return options if chosen in options or chosen == "all" else [*options, chosen]


def _percent(share: str) -> str:
    return share if share == "all" else f"{100 * float(share):g} %"
