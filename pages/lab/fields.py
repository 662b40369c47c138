"""The form of an operation, drawn from what the registry says of it."""

import streamlit as st

from pages import shell
from plans.operation import Field, Kind, Operation
from plans.plan import parse
from plans.registry import OPERATIONS
from refusal import Refusal


def draw(kind: Kind, operation: Operation | None) -> None:
    """The fields of an operation, filled from the plan's; None: the plan has none."""
    row = st.container(horizontal=True, vertical_alignment="bottom")
    values = kind.read(operation) if operation else {}
    for place, field in enumerate(kind.fields):
        _field(row, kind, field, values.get(field.name), disabled=place > 0 and not values)


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
