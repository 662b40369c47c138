"""What is stored and what is running: how big, how old, how often used; forget it or cancel it."""

import streamlit as st

from cache.bundle import BundleError
from cache.store import Entry, StoreError
from pages import shell
from pages.kept import interrupted, report
from probes import HIDDEN
from probes.bundles import unpacked
from refusal import Refusal, plural
from settings import settings
from texts.corpus import forget_texts, label

shell.menu_first()
_STATES = {"queued": "⏳ queued", "running": "▶ running", "done": "✓ done", "failed": "✗ failed", "cancelled": "■ cancelled"}


def _forget(keys: list[str] | None) -> None:
    """Callback: forget some answers, or with None all of them, and look anew at the models that are in memory."""
    bench = shell.workbench()
    store = bench.store
    try:
        if keys is None:
            store.delete_all()
            forget_texts()
            for each in bench.executor.residents():
                bench.load(each.ref)
        for key in keys or ():
            store.delete(key)
    except (StoreError, Refusal) as error:
        st.session_state.forget_error = str(error)


def _entries(above) -> None:
    """The answers that are stored; as long as there are none, what the page is for stands above everything."""
    store = shell.workbench().store
    everything = store.entries()
    entries = [entry for entry in everything if _is_answer(entry.about)]
    beside = len(everything) - len(entries)
    more = f" and {plural(beside, 'row')} learned or counted for them" if beside else ""
    st.caption(
        f"{plural(len(entries), 'answer')}{more}, {store.size / 1e6:,.1f} MB of {store.limit / 1e6:,.0f} MB in "
        f"{store.directory}."
    )
    _foreign()
    if not entries:
        st.info("Nothing is stored yet. Every answer is kept here and never computed twice.")
        with above:
            shell.introduce("storage")
        return
    rows = []
    for entry in entries:
        asked = entry.about.get("question", {})
        rows.append(
            {"probe": asked.get("probe", "?"), "model": asked.get("model", {}).get("name", "?"),
             "text": label(asked.get("corpus", {}).get("name", "")), "plan": asked.get("plan", ""),
             "tokens": entry.about.get("tokens") or None, "dtype": entry.about.get("dtype"),
             "size (KB)": entry.bytes / 1e3, "age": shell.age(entry.created), "hits": entry.hits,
             "computed in (s)": entry.about.get("seconds")}
        )  # fmt: skip
    event = shell.table(
        rows, key="entries", on_select="rerun", selection_mode="multi-row", alt="Stored answers",
        column_config={"size (KB)": st.column_config.NumberColumn(format="%.1f"),
                       "computed in (s)": st.column_config.NumberColumn(format="%.1f")},
    )  # fmt: skip
    _use_button(rows, event)
    if not shell.may_forget():
        st.caption(
            "This is a demo: nothing can be forgotten or added." if settings().demo else
            "Answers are shared, so only an operator of this server can forget them."
        )  # fmt: skip
        return
    _forget_buttons(entries, rows, event)


def _use_button(rows: list[dict], event) -> None:
    """From one selected answer to its plan."""
    plans = [rows[i]["plan"] for i in event.selection.rows if i < len(rows)]
    one = len(plans) == 1 and bool(plans[0])
    st.button(
        "Use its plan", key="use_plan", on_click=shell.set_plan, args=tuple(plans[:1]), disabled=not one,
        help="Replaces the plan in the sidebar with the one of the selected answer.",
    )  # fmt: skip


def _forget_buttons(entries: list[Entry], rows: list[dict], event) -> None:
    chosen = [entries[i].key for i in event.selection.rows if i < len(entries)]
    row = st.container(horizontal=True, vertical_alignment="bottom")
    row.button(f"Forget {len(chosen)} selected", key="forget", disabled=not chosen, on_click=_forget, args=(chosen,))
    name = row.selectbox("Model", sorted({each["model"] for each in rows}), key="forget_model_name", width=260)
    of_model = [entry.key for entry, each in zip(entries, rows, strict=True) if each["model"] == name]
    row.button(f"Forget {plural(len(of_model), 'answer')} on it", key="forget_model", on_click=_forget, args=(of_model,))
    with row.popover("Forget everything"):
        st.write("Every answer will have to be computed again, and pasted or uploaded texts are deleted.")
        st.button("Yes, forget everything", key="forget_all", type="primary", on_click=_forget, args=(None,))


def _foreign() -> None:
    """Rows that somebody else wrote into the database: they are told, and can be forgotten."""
    if not (count := shell.workbench().store.foreign()):
        return
    told, button = st.columns([4, 1], vertical_alignment="center")
    told.warning(
        f"PruneScope did not write {plural(count, 'row')} of its database. Such rows are neither opened nor listed."
    )  # fmt: skip
    if shell.may_forget():
        button.button("Forget them", key="forget_foreign", on_click=_forget_foreign)


def _forget_foreign() -> None:
    """Callback: take out what is not ours."""
    try:
        shell.workbench().store.delete_foreign()
    except StoreError as error:
        st.session_state.forget_error = str(error)


def _is_answer(about: dict) -> bool:
    """Rows that a person asked for, and rows that nobody can read any more; not the pieces beside them."""
    question = about.get("question")
    if isinstance(question, dict):
        return question.get("probe") not in HIDDEN
    return not ({"of", "fingerprint"} & set(about))


def _models() -> None:
    """What is in memory, and who holds it."""
    executor = shell.workbench().executor
    there = executor.residents()
    if not there:
        st.caption("No model is in memory.")
        return
    for each in there:
        name, button = st.columns([8, 1], vertical_alignment="center")
        state = "in use" if each.holders else f"idle for {each.seconds_idle:.0f} s"
        name.markdown(f"**{shell.plain(each.ref.name)}** · {each.dtype} · {each.place} · {each.bytes / 1e9:.1f} GB · {state}")
        button.button(
            "Unload", key=f"unload_{each.fingerprint[:12]}", on_click=executor.release, args=(each.fingerprint,),
            disabled=each.holders > 0,
        )  # fmt: skip


def _bundle() -> None:
    """Take in answers that were measured elsewhere."""
    st.file_uploader(
        "A bundle of answers, written by `python -m probes pack FILE`", key="bundle_file", type=["zip", "bundle"],
        max_upload_size=settings().upload,
        help="For a file that is larger than the limit, run `python -m probes unpack FILE` on this machine.",
    )  # fmt: skip
    st.button("Unpack", key="bundle_take", on_click=_unpack, disabled=st.session_state.bundle_file is None)
    if told := st.session_state.pop("bundle_told", None):
        st.success(shell.plain(told))
    if problem := st.session_state.pop("bundle_error", None):
        shell.refused(problem)


def _unpack() -> None:
    """Callback: add the answers of the uploaded file."""
    try:
        st.session_state.bundle_told = unpacked(shell.workbench().store, st.session_state.bundle_file)
    except (BundleError, StoreError) as error:
        st.session_state.bundle_error = str(error)


@st.fragment(run_every=1.0)
def _jobs() -> None:
    jobs = shell.workbench().jobs.list()
    if not jobs:
        st.caption("No job has run since the app started.")
    for job in reversed(jobs):
        standing = job.standing
        label, state, button = st.columns([4, 4, 1], vertical_alignment="center")
        asked = [name for name in job.askers if name not in ("", "local")]
        by = f" · asked by {', '.join(asked)}" if asked else ""
        label.write(shell.plain(job.label + by))
        if job.active and standing.total:
            state.progress(min(1.0, standing.done / standing.total), shell.plain(standing.text))
        else:
            state.caption(
                f"{_STATES[standing.state]} · {standing.seconds:.1f} s"
                + (f" · {shell.plain(standing.error)}" if standing.error else "")
            )
        if job.active:
            shell.cancel_button(job, button, f"stop_{job.key[:12]}")
    _lives()
    interrupted.draw()


def _lives() -> None:
    """Answers that are being written side by side; they go on without whoever watches them."""
    me = shell.person()
    for i, live in enumerate(shell.workbench().lives()):
        if live.over.is_set():
            continue
        label, state, button = st.columns([4, 4, 1], vertical_alignment="center")
        by = f" · {live.owner}" if live.owner not in ("", "local") else ""
        label.write(shell.plain(f"Answers · {live.writing.ref.name}{by}"))
        state.caption(shell.plain(live.text or f"{plural(sum(map(len, live.tokens)), 'token')} written"))
        button.button("Stop", key=f"end_{i}", on_click=live.stop, disabled=not (me.operator or me.name == live.owner))


top = st.container()
st.header("Models", anchor=False)
_models()
st.header("Jobs", anchor=False)
_jobs()
st.header("Answers", anchor=False)
if problem := st.session_state.pop("forget_error", None):
    shell.refused(problem)
try:
    _entries(top)
except StoreError as error:
    shell.refused(error)
st.header("Report", anchor=False)
try:
    report.draw()
except StoreError as error:
    shell.refused(error)
if not settings().demo:
    st.header("Bundles", anchor=False)
    _bundle()
