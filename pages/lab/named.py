"""The name of the plan and a note on it, and the plan beside another one."""

from dataclasses import replace

import streamlit as st

from pages import shell
from plans.operation import Shape
from plans.plan import Plan, parse
from probes.decision import pairs
from probes.decision.book import Book, Noted, called
from refusal import Refusal
from settings import settings


def draw(plan: Plan, shape: Shape) -> None:
    """Fields to name the plan, and a chooser of the plan to compare it with."""
    if not plan:
        return
    try:
        book = shell.workbench().book(shell.model_ref())
        notes = book.notes()
    except (Refusal, shell.StoreError) as refusal:
        shell.refused(refusal)
        return
    row = st.container(horizontal=True, vertical_alignment="bottom", key="named")
    _fields(row, book, notes.get(str(plan), Noted(str(plan))))
    other = row.selectbox(
        "Compare with", _others(plan, notes), None, key="lab_other", width=260, format_func=lambda each: called(each, notes),
        placeholder="another plan", accept_new_options=True, help="A named plan, one from this visit, or any that you type.",
        on_change=_chosen,
    )  # fmt: skip
    if problem := st.session_state.pop("name_error", None):
        shell.refused(problem)
    if other:
        _beside(plan, other, shape, notes)


def _fields(row, book: Book, noted: Noted) -> None:
    # With the time of the last change in it, so that a note that somebody else wrote gets fresh fields.
    key = f"named {noted.plan} {noted.changed}"

    def write(field: str) -> None:
        try:
            book.write(replace(book.note(noted.plan), **{field: st.session_state[f"{key} {field}"].strip()}))
        except (Refusal, shell.StoreError) as refusal:
            st.session_state.name_error = str(refusal)

    closed = settings().demo
    row.text_input(
        "Plan name", noted.name, key=f"{key} name", on_change=write, args=("name",), width=200, placeholder="candidate A",
        disabled=closed,
    )  # fmt: skip
    row.text_input(
        "Note", noted.note, key=f"{key} note", on_change=write, args=("note",), placeholder="why it is worth keeping",
        disabled=closed,
    )  # fmt: skip


def _others(plan: Plan, notes: dict[str, Noted]) -> list[str]:
    """Plans to compare with, the named ones first; texts of this visit with a typo in them are no plans."""
    named = [each for each, noted in notes.items() if noted.name]
    visited = [each for each in reversed(st.session_state.plan_history) if _canonical(each) == each]
    return [each for each in dict.fromkeys([*named, *visited]) if each and each != str(plan)]


def _canonical(text: str) -> str | None:
    try:
        return str(parse(text))
    except Refusal:
        return None


def _beside(plan: Plan, text: str, shape: Shape, notes: dict[str, Noted]) -> None:
    """The difference in words, and the way to both plans' answers."""
    try:
        other = parse(text).checked(shape)
    except Refusal as refusal:
        shell.refused(refusal)
        return
    said = f"The first is this plan, the second {called(str(other), notes)}. {pairs.in_words(plan, other, shape)}"
    st.markdown(shell.plain(said))
    st.session_state.compare_plans = f"{plan}\n{other}"
    row = st.container(horizontal=True, vertical_alignment="center")
    row.button("Switch to it", key="lab_switch", on_click=shell.set_plan, args=(other,), icon=":material/swap_horiz:")
    # A link and not st.switch_page, which cannot leave a page whose fields are bound to the address.
    row.page_link("pages/compare.py", label="Compare their answers", icon=":material/compare:")


def _chosen() -> None:
    """Callback: Compare shows its form, and no comparison made before."""
    st.session_state.pop("comparison", None)
