"""Why multiple choice survives a plan: the options alone against the whole vocabulary, and the items that flipped."""

from typing import Any

import streamlit as st

from charts.choice import choice_subspace as charts
from pages import shell
from pages.shell import KEPT, plain
from probes.choice.choice_subspace import ChoiceResult
from probes.deviation.limits import GUESSING, judged
from refusal import Refusal, plural
from texts.items import read_items

_WAYS = {"by letter": "letters", "by the option's text": "texts"}
_SHARES = ("right, dense", "right, pruned", "same choice", "guessing", "mass, dense", "mass, pruned")


def settings() -> dict | None:
    """Fields for the items; the parameters of the question, or None where they cannot be read."""
    with st.expander("Multiple-choice items"):
        st.file_uploader(
            "Your items, as JSON lines", ["jsonl", "json", "txt"], key="items_file", on_change=_uploaded, max_upload_size=2,
            help="At most 2 MB.",
        )  # fmt: skip
        st.text_area(
            "or paste them", key="own_items", height=120, persist_state="session",
            placeholder='{"question": "2 + 2 =", "options": ["3", "4"], "answer": 1}',
            help="One item per line. The answer is an index from 0, a letter, or the option's text. Empty: 104 built-in "
                 "items. Your own items are not part of the link.",
        )  # fmt: skip
        if error := st.session_state.pop("items_error", None):
            shell.refused(error)
        text = (st.session_state.own_items or "").strip()
        if text:
            try:
                st.caption(f"{plural(len(read_items(text)), 'item')} of your own.")
            except Refusal as refusal:
                shell.refused(refusal)
                return None
    return {"items": text}


def _uploaded() -> None:
    """Callback: put an uploaded file into the field, where it can be seen and changed."""
    file = st.session_state.items_file
    if file is not None:
        try:
            st.session_state.own_items = file.getvalue().decode("utf-8-sig")
        except UnicodeDecodeError:
            st.session_state.items_error = f"{file.name} is not UTF-8 text. Save it as UTF-8 and upload it again."


def draw(results: dict[str, ChoiceResult | None]) -> None:
    """Subspace, accuracies, and what flipped."""
    there = {plan: result for plan, result in results.items() if result}
    if not there:
        st.caption("Measure the choices first.")
        return
    first = next(iter(there.values()))
    default = "by letter" if judged(first)[1] is first.letters else "by the option's text"
    chosen = st.segmented_control(
        "Chosen", list(_WAYS), default=default, key="way", required=True, **KEPT,
        help="The likeliest letter after a prompt that lists the options; or the option whose text is likeliest, per byte.",
    )  # fmt: skip
    way = _WAYS[chosen or default]
    if getattr(first, way).dense_accuracy - first.chance <= GUESSING:
        st.caption(f":orange[⚠] Chosen {chosen}, the dense model barely beats guessing; use the other way.")
    st.markdown("**Distance between predictions at the answer**: over the whole vocabulary, and over the options alone")
    shell.chart(charts.subspaces(results, way), "subspaces", "Vocabulary against options")
    rows = charts.summary(there)
    pick = shell.row_plan("choices", [row["plan"] for row in rows])
    _table(rows, "choices", "Accuracy, agreement and margins by plan", selection_mode="single-row", on_select=pick)
    st.caption(
        "Right: share of items answered correctly. Margin: best score minus second best, in nats; by text, in nats per byte. "
        "Mass: total probability of the options, before renormalising. Select a row to make its plan the plan in the sidebar."
    )
    _flipped(there, way)
    left, right = shell.beside("items")
    left.markdown("**Every item**")
    shell.chart(charts.each_item(results, way), "each_item", "KL of every item", left)
    with right:
        plan = st.session_state.choice_plan
        st.markdown(f"**By category**: {plain(plan)}")
        _table(charts.categories(there[plan], way), "categories", "By category")


def _flipped(there: dict[str, ChoiceResult], way: str) -> None:
    if st.session_state.get("choice_plan") not in there:
        st.session_state.pop("choice_plan", None)
    plan = st.selectbox("Items that flipped under", list(there), key="choice_plan", width=320, **KEPT)
    result, remarks = there[plan], getattr(there[plan], way).remarks
    if rows := charts.flipped(result, way):
        _table(rows, "flipped", "Items that flipped")
        st.caption(f"{len(rows)} of {plural(result.items, 'item')}, the dense model's most confident answers first.")
    else:
        st.caption(f"No item flipped: both models make the same choice on all {result.items}.")
    if remarks:
        with st.expander(f"{plural(len(remarks), 'item')} without an option subspace"):
            st.markdown("\n".join(f"- {plain(each)}" for each in remarks))


def _table(rows: list[dict], key: str, alt: str, **more: Any) -> None:
    """Rows as a table: shares in percent, other numbers with three digits."""
    kinds = {
        name: st.column_config.NumberColumn(format="percent" if name in _SHARES else "%.3f")
        for name, value in rows[0].items() if isinstance(value, float)
    }  # fmt: skip
    shell.table(rows, key=key, alt=alt, column_config=kinds, **more)
