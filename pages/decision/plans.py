"""All plans of the model in one table: what was measured of them, what was written about them, and two of them compared."""

from collections.abc import Callable
from dataclasses import replace

import streamlit as st

from models.anatomy import Anatomy
from pages import shell
from pages.decision import tasks
from pages.lab.speed import given as speed_fields
from plans.operation import Shape
from plans.plan import Plan, parse
from probes.decision import pairs
from probes.decision.book import Book, Noted, called
from probes.decision.matching import NUMBERS, matching
from probes.decision.rows import Row
from probes.decision.table import Found
from probes.question import Question
from refusal import Refusal, plural
from settings import settings

_COLUMNS = {
    "pinned": st.column_config.TextColumn("📌", width=40),
    "saved": st.column_config.NumberColumn("parameters saved", format="percent"),
    "cache": st.column_config.NumberColumn("KV cache saved", format="percent"),
    "KL": st.column_config.NumberColumn("KL, nats", format="%.4f"),
    "from": st.column_config.NumberColumn(format="%.4f"),
    "to": st.column_config.NumberColumn(format="%.4f"),
    "perplexity": st.column_config.NumberColumn(format="%.4g"),
    "same top token": st.column_config.NumberColumn(format="percent"),
    "accuracy": st.column_config.NumberColumn("items right", format="percent"),
    "tasks": st.column_config.NumberColumn("tasks, score", format="%.4f"),
    "decode": st.column_config.NumberColumn("decode, × dense", format="%.2f"),
    "prefill": st.column_config.NumberColumn("prefill, × dense", format="%.2f"),
}


def draw(anatomy: Anatomy, plan: Plan) -> None:
    """The note on the plan of the sidebar, the table, and two plans compared."""
    bench, shape = shell.workbench(), Shape(anatomy.layers)
    try:
        book = bench.book(shell.model_ref())
        question = Question("fidelity", shell.model_ref(), shell.corpus_ref())
        given = {"speed": speed_fields(), "evaluate": tasks.params() or {}}
        found, notes = bench.table.found(question, given), book.notes()
        listed = bench.table.rows(found, anatomy, notes, book.forgotten())
    except (Refusal, shell.StoreError) as refusal:
        shell.refused(refusal)
        return
    if plan and not settings().demo:
        _note(book, notes.get(str(plan), Noted(str(plan), parent=_parent(str(plan)))))
    if not listed:
        shell.introduce("plans")
        st.info("No plan has been measured yet.")
        return
    _table(listed)
    _compare(found, [row.noted.plan for row in listed], notes, shape)


def _note(book: Book, noted: Noted) -> None:
    """Name, note, parent and pin of a plan, each written when its field changes."""
    # With the time of the last change in it, so that a note that somebody else changed or forgot gets fresh fields.
    key = f"note {noted.plan} {noted.changed}"

    def write(field: str) -> None:
        value = st.session_state[f"{key}_{field}"]
        there = book.note(noted.plan)
        kept = there if there.changed else noted
        try:
            book.write(replace(kept, **{field: value.strip() if isinstance(value, str) else bool(value)}))
        except (Refusal, shell.StoreError) as refusal:
            st.session_state.note_error = str(refusal)

    def forget() -> None:
        try:
            gone = book.forget(noted.plan, shell.workbench().known)
            st.session_state.note_told = f"Forgot {noted.plan} and {plural(gone, 'answer')} about it."
        except (Refusal, shell.StoreError) as refusal:
            st.session_state.note_error = str(refusal)

    _note_fields(noted, key, write, forget)


def _note_fields(noted: Noted, key: str, write: Callable[[str], None], forget: Callable[[], None]) -> None:
    st.markdown(f"**`{noted.plan}`**")
    row = st.container(horizontal=True, vertical_alignment="bottom", key="note")
    row.text_input("Name", noted.name, key=f"{key}_name", on_change=write, args=("name",), width=200, placeholder="candidate A")
    row.text_input(
        "Note", noted.note, key=f"{key}_note", on_change=write, args=("note",), placeholder="why it is worth keeping"
    )
    row.text_input(
        "Made from", noted.parent, key=f"{key}_parent", on_change=write, args=("parent",), width=200,
        help="The plan this one was derived from.",
    )  # fmt: skip
    row.checkbox(
        "Pin", noted.pinned, key=f"{key}_pinned", on_change=write, args=("pinned",),
        help="Keeps it at the top and protects it from Forget.",
    )  # fmt: skip
    if shell.may_forget():
        with row.popover("Forget", disabled=noted.pinned):
            st.write("This deletes the note and all stored results for this plan.")
            st.button("Yes, forget it", key="note_forget", type="primary", on_click=forget)
    if told := st.session_state.pop("note_told", None):
        st.success(shell.plain(told))
    if problem := st.session_state.pop("note_error", None):
        shell.refused(problem)


def _parent(plan: str) -> str:
    """The plan that was in the sidebar before this one."""
    history, place = st.session_state.get("plan_history", []), st.session_state.get("plan_place", 0)
    return history[place - 1] if place and history[place] == plan else ""


def _table(listed: list[Row]) -> None:
    asked = st.text_input(
        "Filter", key="plans_filter", placeholder="kl<0.5 saved>0.2 candidate", width=420, **shell.KEPT,
        help=f"Words in a plan, its name or note, and conditions on {', '.join(NUMBERS)}. All must match.",
    )  # fmt: skip
    try:
        found = matching(listed, asked or "")
    except Refusal as refusal:
        shell.refused(refusal)
        found = listed
    if not found:
        st.caption(f"No plan matches (of {len(listed)}).")
        return

    shown = [_shown(row) for row in found]
    there = [name for name in shown[0] if any(row[name] not in (None, "") for row in shown)]
    shell.table(
        shown, key="plans_table", alt="All plans", selection_mode="single-row",
        on_select=shell.row_plan("plans_table", [row.noted.plan for row in found]),
        column_order=there, column_config=_COLUMNS,
    )  # fmt: skip
    st.caption(
        "All results for this model and text; tasks and speed for their current settings. KL to the dense model in nats per "
        "token, with its 95 % interval over windows. *Held out*: measured by a search on windows not used for selection; "
        "measure the plan in the Drop lab for all windows. Click a header to sort. A selected row replaces the plan."
    )


def _shown(row: Row) -> dict:
    return {
        "pinned": "📌" if row.noted.pinned else "", "plan": row.noted.plan, "name": row.noted.name, "note": row.noted.note,
        "saved": row.saved, "cache": row.cache,
        "KL": row.kl, "from": row.kl_low, "to": row.kl_high, "perplexity": row.perplexity, "same top token": row.agreement,
        "windows": f"{row.windows}{', held out' if row.held_out else ''}" if row.windows else "",
        "accuracy": row.accuracy, "tasks": row.score, "decode": row.decode, "prefill": row.prefill,
        "timing": f"⚠ {row.disturbed}" if row.disturbed else "",
        "made from": row.noted.parent,
    }  # fmt: skip


def _compare(found: Found, plans: list[str], notes: dict[str, Noted], shape: Shape) -> None:
    """Two plans: what each does alone, and paired tests on all that both were measured on."""
    st.markdown("**Two plans compared**")
    if len(plans) < 2:
        st.caption("Measure a second plan to compare it with this one.")
        return

    def named(plan: str) -> str:
        return called(plan, notes)

    row = st.container(horizontal=True)
    first = row.selectbox("First", plans, 0, key="pair_first", format_func=named)
    second = row.selectbox("Second", plans, 1, key="pair_second", format_func=named)
    try:
        st.markdown(pairs.in_words(parse(first), parse(second), shape))
    except Refusal as refusal:
        shell.refused(refusal)
        return
    compared = shell.workbench().table.pairs(found, first, second) if first != second else []
    if not compared:
        st.caption("There is no measurement of both plans yet. Measure both in the Drop lab, or run the same tasks on both.")
        return
    four = st.column_config.NumberColumn(format="%.4f")
    columns = ["measure", "first", "second", "difference", "from", "to", "McNemar p", "verdict", "samples", "unit"]
    if all(each.p is None for each in compared):
        columns.remove("McNemar p")
    shell.table(
        [
            {"measure": each.what, "first": each.first, "second": each.second, "difference": each.difference, "from": each.low,
             "to": each.high, "McNemar p": each.p, "verdict": each.says, "samples": each.samples, "unit": each.unit}
            for each in compared
        ], key="pair_table", alt="Two plans compared", column_order=columns,
        column_config={name: four for name in ("first", "second", "difference", "from", "to")}
        | {"McNemar p": st.column_config.NumberColumn(format="%.3f")},
    )  # fmt: skip
    st.caption("Second minus first, on the same windows or items, with 95 % bootstrap intervals over them.")
