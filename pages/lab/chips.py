"""What the plan does, operation by operation: a chip to open, to change and to take away; and those that it could do too."""

import streamlit as st

from charts import style
from pages import shell
from pages.lab import fields
from plans.operation import Kind, Operation, Shape
from plans.plan import Plan, parse
from plans.registry import OPERATIONS
from refusal import Refusal


def draw(plan: Plan, shape: Shape) -> None:
    """One row, in the order in which operations are applied."""
    there = {operation.name: operation for operation in plan.operations}
    row = st.container(horizontal=True, key="chips")
    for kind in OPERATIONS.values():
        # In a place of its own, so that a chip stays open while its plan changes.
        place = row.container(horizontal=True, gap=None, width="content", key=f"chip_{kind.name}")
        if kind.name in there:
            _chip(place, kind, there[kind.name], plan, shape)
        elif kind.fields:
            with place.popover(kind.title, icon=":material/add:", key=f"open_{kind.name}"):
                fields.draw(kind, None)
    if error := st.session_state.pop("operation_error", None):
        shell.refused(error)


def _chip(place, kind: Kind, operation: Operation, plan: Plan, shape: Shape) -> None:
    label = style.shortened(str(operation), 32)
    with place.popover(f"`{label}`", key=f"open_{kind.name}"):
        st.write(style.capital(operation.sentence(shape)) + ".")
        if kind.fields:
            fields.draw(kind, operation)
        else:
            _items(kind.name, operation)
    place.button(
        "", icon=":material/close:", key=f"away_{kind.name}", help=f"Take {label} out of the plan", on_click=shell.set_plan,
        args=(plan.without(kind.name),),
    )  # fmt: skip


def _items(name: str, operation: Operation) -> None:
    """Its text as a field, for an operation that has no form; of this text alone, as the fields of a form are."""
    key = f"items_{name} {operation}"
    st.text_input("Items", str(operation), key=key, on_change=_rewritten, args=(name, key), help="Leave empty to remove it.")


def _rewritten(name: str, key: str) -> None:
    """Callback: the plan with the items that were written."""
    try:
        written = parse(st.session_state[key])
    except Refusal as refusal:
        st.session_state.operation_error = str(refusal)
        return
    shell.set_plan(shell.current_plan().without(name) | written)
