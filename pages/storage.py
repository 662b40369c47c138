"""What is stored and what is running: how big, how old, how often used; forget it or cancel it."""

import time

import streamlit as st

from cache.store import StoreError
from pages import shell

shell.menu_first()
_STATES = {"queued": "⏳ queued", "running": "▶ running", "done": "✓ done", "failed": "✗ failed", "cancelled": "■ cancelled"}


def _forget(keys: list[str] | None) -> None:
    """Callback: forget some answers, or with None all of them."""
    store = shell.workbench().store
    try:
        if keys is None:
            store.delete_all()
        for key in keys or ():
            store.delete(key)
    except StoreError as error:
        st.session_state.forget_error = str(error)


def _age(created: float) -> str:
    minutes = (time.time() - created) / 60
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.0f} h" if minutes < 2880 else f"{minutes / 1440:.0f} d"


def _entries() -> None:
    store = shell.workbench().store
    entries = store.entries()
    st.caption(f"{len(entries)} answers, {store.size / 1e6:,.1f} MB of {store.limit / 1e6:,.0f} MB, in {store.directory}.")
    if not entries:
        st.info("Nothing is stored yet. Every answer that is computed is kept here and never computed again.")
        return
    rows = []
    for entry in entries:
        asked = entry.about.get("question", {})
        rows.append(
            {"probe": asked.get("probe", "?"), "model": asked.get("model", {}).get("name", "?"),
             "text": asked.get("corpus", {}).get("name", ""), "plan": asked.get("plan", ""),
             "tokens": entry.about.get("tokens") or None, "dtype": entry.about.get("dtype"),
             "size (KB)": entry.bytes / 1e3, "age": _age(entry.created), "hits": entry.hits,
             "computed in (s)": entry.about.get("seconds")}
        )  # fmt: skip
    event = st.dataframe(
        rows, hide_index=True, key="entries", on_select="rerun", selection_mode="multi-row", alt="Stored answers",
        column_config={"size (KB)": st.column_config.NumberColumn(format="%.1f"),
                       "computed in (s)": st.column_config.NumberColumn(format="%.1f")},
    )  # fmt: skip
    chosen = [entries[i].key for i in event.selection.rows if i < len(entries)]
    one, model, button, every = st.columns([1.4, 1.6, 1.4, 1.2], vertical_alignment="bottom")
    one.button(
        f"Forget {len(chosen)} selected", key="forget", disabled=not chosen, on_click=_forget, args=(chosen,),
        width="stretch",
    )  # fmt: skip
    name = model.selectbox("Of model", sorted({row["model"] for row in rows}), key="forget_model_name")
    of_model = [entry.key for entry, row in zip(entries, rows, strict=True) if row["model"] == name]
    button.button(f"Forget all {len(of_model)} of it", key="forget_model", on_click=_forget, args=(of_model,), width="stretch")
    with every.popover("Forget everything", width="stretch"):
        st.write("Every answer would have to be computed again.")
        st.button("Yes, forget everything", key="forget_all", type="primary", on_click=_forget, args=(None,))


@st.fragment(run_every=1.0)
def _jobs() -> None:
    jobs = shell.workbench().jobs.list()
    if not jobs:
        st.caption("No job has run since the app was started.")
    for job in reversed(jobs):
        standing = job.standing
        label, state, button = st.columns([4, 4, 1], vertical_alignment="center")
        label.write(job.label)
        if job.active and standing.total:
            state.progress(min(1.0, standing.done / standing.total), standing.text)
        else:
            state.caption(
                f"{_STATES[standing.state]} · {standing.seconds:.1f} s" + (f" · {standing.error}" if standing.error else "")
            )
        if job.active:
            button.button("Cancel", key=f"stop_{job.key[:12]}", on_click=job.cancel)


st.subheader("Jobs", anchor=False)
_jobs()
st.subheader("Answers", anchor=False)
if problem := st.session_state.pop("forget_error", None):
    st.error(problem, icon=":material/error:")
try:
    _entries()
except StoreError as error:
    st.error(str(error), icon=":material/error:")
