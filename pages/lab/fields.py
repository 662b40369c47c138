"""Fields for what operations do inside layers, drawn from what the registry says of each."""

import streamlit as st

from pages import shell
from plans.operation import Field, Kind
from plans.plan import Plan, parse
from plans.registry import OPERATIONS
from refusal import Refusal


def draw(plan: Plan) -> None:
    """The fields of every operation that has some, filled from the plan."""
    row = st.container(horizontal=True, vertical_alignment="bottom")
    there = {operation.name: operation for operation in plan.operations}
    for kind in OPERATIONS.values():
        values = kind.read(there[kind.name]) if kind.fields and kind.name in there else {}
        for place, field in enumerate(kind.fields):
            _field(row, kind, field, values.get(field.name), disabled=place > 0 and not values)
    if error := st.session_state.pop("operation_error", None):
        shell.refused(error)


def _field(row, kind: Kind, field: Field, value: str | None, disabled: bool) -> None:
    """One field. Without the operation in the plan, its first field says so and the others keep what they were."""
    key, state = _key(kind, field), st.session_state
    first = field is kind.fields[0]
    state[key] = value or (field.options[0] if first else state.get(key) or field.default)
    options = field.options if state[key] in field.options else (*field.options, state[key])
    row.selectbox(
        field.label, options, key=key, on_change=_changed, args=(kind.name,), width=field.width, disabled=disabled,
        accept_new_options=field.free, help=field.help, format_func=lambda option: field.labels.get(option, option),
    )  # fmt: skip


def _changed(name: str) -> None:
    """Callback: the plan with what the fields of an operation say."""
    kind, plan = OPERATIONS[name], shell.current_plan()
    values = {field.name: st.session_state[_key(kind, field)] for field in kind.fields}
    try:
        written = parse(kind.written(values))
    except Refusal as refusal:
        st.session_state.operation_error = str(refusal)
        return
    shell.set_plan(plan.without(name) | written)


def _key(kind: Kind, field: Field) -> str:
    return f"{kind.name}_{field.name}"
