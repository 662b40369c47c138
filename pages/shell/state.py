"""What the URL and the fields say: model, text and plan, and what a click on a chart does to the plan."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import streamlit as st
from streamlit.runtime.pages_manager import PagesManager

from models.subject import ModelRef
from plans.operation import Shape
from plans.plan import EMPTY, Plan, parse
from refusal import Refusal
from texts.corpus import CorpusRef

# Settings of a field whose value is part of the link and is still there after a visit to another page.
KEPT = {"bind": "query-params", "persist_state": "session"}


def menu_first() -> None:
    """Go through app.py, whatever page a link names; the first line of every page.

    Until app.py has run once in a process, Streamlit takes a folder named pages for its old way to make menus and would
    show the first visitors of a deep link the bare page. Two of them may come at once: whether the sidebar was drawn for
    this one is what counts, not what another has switched off meanwhile.
    """
    if PagesManager.uses_pages_directory or "model" not in st.session_state:
        PagesManager.uses_pages_directory = False
        st.rerun()


def model_ref() -> ModelRef:
    """The model that the sidebar names."""
    state = st.session_state
    return ModelRef(state.model.strip(), state.revision.strip() or None, state.dtype, state.device)


def corpus_ref() -> CorpusRef:
    """The text that the sidebar names."""
    state = st.session_state
    return CorpusRef(state.corpus or "", int(state.windows or 0), int(state.length or 0), bool(state.bos))


def field(key: str, default: Any) -> Any:
    """What a field says that another page or tab draws: its value, else what the link says, else its default."""
    value = st.session_state.get(key)
    if value is None and key in st.query_params:
        text = st.query_params[key]
        with suppress(ValueError):
            value = text == "true" if isinstance(default, bool) else type(default)(text)
    return default if value is None else type(default)(value)


def current_plan(shape: Shape | None = None) -> Plan:
    """The plan in the sidebar; the empty one while its text has a typo, which the sidebar tells."""
    try:
        plan = parse(st.session_state.get("plan") or "")
        return plan if shape is None else plan.checked(shape)
    except Refusal:
        return EMPTY


def set_plan(plan: Plan | str) -> None:
    """Put a plan into the sidebar; for callbacks, which run before the field is drawn."""
    st.session_state.plan = str(plan)


def toggle(item: str) -> None:
    """Drop what an item like ``a25`` or ``b20-23`` names, or put it back if the plan drops all of it already."""
    plan, part = current_plan(), parse(item)
    set_plan(plan - part if plan | part == plan else plan | part)


def clicked(chart: str) -> None:
    """Callback of a chart whose points carry an item of a plan as their first custom value."""
    custom = picked(chart)
    if custom:
        toggle(custom[0])


def point_plan(chart: str) -> None:
    """Callback of a chart whose points carry a whole plan first: it becomes the plan."""
    custom = picked(chart)
    if custom:
        set_plan(custom[0])


def row_plan(table: str, plans: Sequence[str | None]) -> Callable[[], None]:
    """Callback of a table whose rows are plans: the one that is selected becomes the plan, unless it is None."""

    def pick() -> None:
        chosen = st.session_state[table].selection.rows
        if chosen and chosen[0] < len(plans) and (plan := plans[chosen[0]]) is not None:
            set_plan(plan)

    return pick


def row_part(table: str, parts: Sequence[str]) -> Callable[[], None]:
    """Callback of a table whose rows are parts: the one that is selected is dropped, or put back."""

    def pick() -> None:
        chosen = st.session_state[table].selection.rows
        if chosen and chosen[0] < len(parts):
            toggle(parts[chosen[0]])

    return pick


def picked(chart: str) -> list[Any]:
    """The custom values of the point of a chart that was clicked; empty: none."""
    points = st.session_state[chart].selection.points
    custom = points[0].get("customdata") if points else None
    if not custom:
        return []
    return list(custom) if isinstance(custom, list | tuple) else [custom[place] for place in sorted(custom, key=int)]
