"""What a link says: numbers made finite, what it brings along, and what of it is told because nothing knows it."""

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import streamlit as st
from streamlit.errors import StreamlitAPIException
from streamlit.runtime.scriptrunner import StopException

from pages.shell.words import plain

_NAME = 40  # letters of a name that are shown
# Every name by which a link can set something, on whatever page; tests/pages/test_links.py finds the same in the sources.
SETTINGS = frozenset(
    """
    model revision dtype device corpus windows length bos plan
    without_first similarity_view scan_view scan_base level layer head against dims top context whole grid_dims grid_top basis
    prompt answer_length temperature seed chat speed_batch speed_prompt speed_new tried_by
    plan2 plan3 plan4 T tokens drift_prompts drift_steps chat_turn text_read curve_prompt band estimates norm part drift_plan
    drift_prompt step way choice_plan
    comparison compare compare_plans compare_length compare_temperature compare_seed compare_chat compare_order compare_item
    compare_stacked
    decide search_view search_base search_unit search_share search_points search_again search_generations search_offspring
    search_draws search_continuation search_seed plans_filter task_tasks task_limit task_fewshot task_chat export_folder
    tour_step glossary_find
    """.split()
)


def finite_link() -> None:
    """Make numbers of a link finite that no computer holds, as 1e309: a field ends in a traceback of Streamlit's otherwise.

    What they become is beyond every field's range, and is told as such.
    """
    wild = {name: sign for name, given in st.query_params.items() if "prompt" not in name and (sign := _infinite(given))}
    for name, sign in wild.items():
        st.query_params[name] = f"{sign}1e308"
    if wild:  # fields are filled from the link as it was when this run began
        st.rerun()


def _infinite(text: str) -> str:
    """The sign of an infinite number; empty: it is something else."""
    try:
        number = float(text)
    except ValueError:
        return ""
    return ("-" if number < 0 else "+") if math.isinf(number) else ""


_TAKEN = ("plan", "layer", "head", "part", "step", "drift_prompts", "drift_steps", "chat_turn")


def take_link() -> bool:
    """Put what a link inside the app brings along into its fields, as ``take_plan=a25``; before any is drawn.

    A field that was drawn before keeps its value, whatever the address says, so such a link cannot name the field itself. The
    plan is drawn on every page; what else is brought is forgotten, and filled anew from the address.

    Returns
    -------
    bool
        The page has to begin again once the sidebar is drawn, which puts its own fields back into the address: fields are
        filled from the link as it was when a run began.
    """
    brought = {name: given for name in _TAKEN if (given := st.query_params.get(f"take_{name}")) is not None}
    for name, given in brought.items():
        del st.query_params[f"take_{name}"]
        if name == "plan":
            st.session_state.plan = given
        else:
            st.session_state.pop(name, None)
            with suppress(StreamlitAPIException):  # the field is on the page that the link leads from
                st.query_params[name] = given
    return bool(set(brought) - {"plan"})


def stop() -> NoReturn:
    """End the page here. After `st.stop` not even `linked` could show anything any more."""
    raise StopException


@contextmanager
def linked() -> Iterator[None]:
    """Around all that draws fields: what a link asks of one that is drawn for the first time, and cannot have, is told.

    Streamlit drops such a value without a word, and the field has its default.
    """
    told = st.container()
    asked = {name: given for name, given in st.query_params.items() if name in SETTINGS and name not in st.session_state}
    try:
        yield
    finally:  # a page may stop halfway
        for name, given in asked.items():
            taken = st.session_state.get(name)
            # A value that a field takes stays in the address, unless it is the default.
            if taken is not None and st.query_params.get(name) != given and not _same(taken, given):
                not_taken(name, given, taken, told)


def not_taken(name: str, given: str, taken: Any, place=st) -> None:
    """Say that a link's value is not possible, and what is used."""
    place.warning(plain(f"The link asks for {name}={given}, which is not possible here; {name}={taken} is used instead."))


def _same(taken: Any, given: str) -> bool:
    """Whether a field holds what a link says, however that writes a number."""
    if isinstance(taken, int | float) and not isinstance(taken, bool):
        with suppress(ValueError):
            return float(given) == taken
    return str(taken).lower() == given.lower()


def warn_of_unknown() -> None:
    """Say once which settings of a link no page knows, and take them out of the address."""
    unknown = sorted(set(st.query_params) - SETTINGS)
    if not unknown:
        return
    named = ", ".join(name if len(name) <= _NAME else f"{name[:_NAME]}…" for name in unknown)
    what, ends = ("a setting", "It is ignored.") if len(unknown) == 1 else ("settings", "They are ignored.")
    st.warning(plain(f"The link has {what} that PruneScope does not know: {named}. {ends}"))
    for name in unknown:
        del st.query_params[name]
