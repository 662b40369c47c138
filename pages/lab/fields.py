"""The form of an operation, drawn from what the registry says of it."""

import streamlit as st

from pages import shell
from plans.operation import Kind, Operation
from plans.plan import parse
from plans.registry import OPERATIONS
from refusal import Refusal


def draw(kind: Kind, operation: Operation | None) -> None:
    """The fields of an operation, filled from the plan's; None: the plan has none."""
    row = st.container(horizontal=True, vertical_alignment="bottom")
    values = kind.read(operation) if operation else {}
    # A browser forgets no field of a form that is closed, and would send what was chosen there before: another operation has
    # fields of its own.
    keys = {field.name: f"{kind.name}_{field.name} {operation or ''}" for field in kind.fields}
    for place, field in enumerate(kind.fields):
        value = values.get(field.name) or (field.default if place else field.options[0])
        options = field.options if value in field.options else (*field.options, value)
        row.selectbox(
            field.label, options, options.index(value), key=keys[field.name], on_change=_changed, args=(kind.name, keys),
            width=field.width, disabled=place > 0 and not values, accept_new_options=field.free, help=field.help,
            format_func=lambda option, labels=field.labels: labels.get(option, option),
        )  # fmt: skip


def _changed(name: str, keys: dict[str, str]) -> None:
    """Callback: the plan with what the fields of an operation say."""
    kind, plan = OPERATIONS[name], shell.current_plan()
    try:
        written = parse(kind.written({field: st.session_state[key] for field, key in keys.items()}))
    except Refusal as refusal:
        st.session_state.operation_error = str(refusal)
        return
    shell.set_plan(plan.without(name) | written)
