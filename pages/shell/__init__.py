"""What all pages share: the process' workbench, what the sidebar says, and how a question and its job are drawn."""

import streamlit as st
from streamlit.runtime.pages_manager import PagesManager

from cache.store import StoreError
from models.subject import ModelRef, Subject
from pages.shell.workbench import Workbench
from plans.plan import Plan, parse
from probes.answer import Answer, Question, find, key, measured, submit
from refusal import Refusal
from texts.corpus import CorpusRef

CHART = {"displaylogo": False, "scrollZoom": False, "modeBarButtonsToRemove": ["select2d", "lasso2d"]}
POLL = 0.5  # seconds between looks at something that runs


@st.cache_resource(show_spinner=False)
def workbench() -> Workbench:
    """The one object that all sessions of this process share."""
    return Workbench()


def menu_first() -> None:
    """Go through app.py, whatever page a link names; the first line of every page.

    Until app.py has run once in a process, Streamlit takes a folder named pages for its old way to make menus and would
    show the first visitor of a deep link the bare page.
    """
    if PagesManager.uses_pages_directory:
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


def current_plan(layers: int | None = None) -> Plan:
    """The plan in the sidebar; the empty one while its text has a typo, which the sidebar tells."""
    try:
        plan = parse(st.session_state.get("plan") or "")
        return plan if layers is None else plan.checked(layers)
    except Refusal:
        return Plan()


def set_plan(plan: Plan | str) -> None:
    """Put a plan into the sidebar; for callbacks, which run before the field is drawn."""
    st.session_state.plan = str(plan)


def toggle(item: str) -> None:
    """Drop what an item like ``a25`` or ``b20-23`` names, or put it back if the plan drops all of it already."""
    plan, part = current_plan(), parse(item)
    set_plan(plan - part if plan | part == plan else plan | part)


def clicked(chart: str) -> None:
    """Callback of a chart whose points carry an item of a plan as their first custom value."""
    points = st.session_state[chart].selection.points
    if points and points[0].get("customdata"):
        custom = points[0]["customdata"]
        toggle(custom[0] if isinstance(custom, list | tuple) else custom["0"])


def subject_or_stop() -> Subject:
    """The loaded model; where there is none the page ends with a button that loads it."""
    bench = workbench()
    if bench.subject is not None:
        return bench.subject
    loading = bench.loading
    if loading is not None and not loading.over.is_set():
        st.info(f"**{loading.ref.name}** is being loaded; this page goes on when it is there.")
    else:
        st.info(f"No model is loaded yet. This page is about **{st.session_state.model}**.")
        st.button(f"Load {st.session_state.model}", type="primary", on_click=load_clicked, key="load_here")
    st.stop()


def tell_load_error() -> None:
    """Say why a model did not load, as long as the sidebar names it; app.py does so on every page."""
    loading = workbench().loading
    if loading is not None and loading.over.is_set() and loading.error and loading.ref == model_ref():
        st.error(loading.error, icon=":material/error:")


def load_clicked() -> None:
    """Callback: load what the sidebar names."""
    try:
        workbench().load(model_ref())
    except Refusal as refusal:
        st.session_state.load_error = str(refusal)


def ask(probe: str, button: str, what: str, subject: Subject, plan: str = "", params: dict | None = None) -> Answer | None:
    """The answer to a question on the current model and text, if it is known; else a button, or how far the job is.

    Parameters
    ----------
    button, what : str
        The button's label, and a sentence on what a click computes.
    params : dict, optional
        Parameters of the probe; what is not named has its default.
    """
    return ask_each(probe, button, what, subject, [plan], params)[0]


def ask_each(
    probe: str, button: str, what: str, subject: Subject, plans: list[str], params: dict | None = None
) -> list[Answer | None]:
    """`ask` for several plans at once, with one button for all that are not known; an answer or None for each."""
    bench = workbench()
    try:
        questions = [Question(probe, subject.ref, corpus_ref(), plan, params or {}) for plan in plans]
        found = [find(bench.store, question, subject) for question in questions]
        missing = [question for question, answer in zip(questions, found, strict=True) if answer is None]
        names = [key(question, subject) for question in missing]
    except (Refusal, StoreError) as refusal:
        st.error(str(refusal), icon=":material/error:")
        return [None] * len(plans)
    if not missing:
        return found
    jobs = [job for job in map(bench.jobs.get, names) if job is not None]
    running = [job.key for job in jobs if job.active]
    if running:
        _watch_job(running[0], len(running) - 1)
        return found
    for error in dict.fromkeys(job.error for job in jobs if job.state == "failed"):
        st.error(error, icon=":material/error:")
    if any(job.state == "cancelled" for job in jobs):
        st.info("Cancelled. Nothing else was lost; ask again when you like.")
    # Not columns: in a narrow window they would cut the buttons' labels, and several of them begin alike.
    row = st.container(horizontal=True, vertical_alignment="center")
    row.button(button, type="primary", key=f"ask_{probe}", on_click=_submit, args=(missing, subject), width=210)
    row.caption(what)
    if error := st.session_state.pop(f"refused_{probe}", None):
        st.error(error, icon=":material/error:")
    return found


def known(probe: str, subject: Subject, plan: str = "", params: dict | None = None) -> Answer | None:
    """The answer to a question on the current model and text if there is one; what is wrong with them is told elsewhere."""
    try:
        return find(workbench().store, Question(probe, subject.ref, corpus_ref(), plan, params or {}), subject)
    except (Refusal, StoreError):
        return None


def tried(probe: str, subject: Subject) -> list[tuple[str, Answer]]:
    """Every known answer of a probe on the current model and text, with its plan."""
    try:
        return measured(workbench().store, probe, subject, corpus_ref())
    except (Refusal, StoreError):
        return []


def _submit(questions: list[Question], subject: Subject) -> None:
    try:
        for question in questions:
            submit(workbench().jobs, question, subject)
    except (Refusal, StoreError) as refusal:
        st.session_state[f"refused_{questions[0].probe}"] = str(refusal)


@st.fragment(run_every=POLL)
def _watch_job(name: str, behind: int = 0) -> None:
    """How far a job is, and how many wait behind it."""
    job = workbench().jobs.get(name)
    if job is None or not job.active:
        st.rerun()
    standing = job.standing
    share = min(1.0, standing.done / standing.total) if standing.total else 0.0
    wait = "waiting for its turn" if standing.state == "queued" else standing.text
    eta = f" · about {standing.eta:.0f} s left" if standing.eta is not None else ""
    left, right = st.columns([5, 1], vertical_alignment="center")
    after = f" · {behind} more behind it" if behind else ""
    left.progress(share, f"{job.label}: {wait}{eta}{after}")
    right.button("Cancel", key=f"cancel_{name[:12]}", on_click=job.cancel, disabled=job.cancelling, width="stretch")


def metrics(cells: list[tuple[str, str, str | None, str]]) -> None:
    """A row of numbers, wrapped where the window is narrow; each is label, value, change (lower is better), explanation."""
    row = st.container(horizontal=True)
    for label, value, change, why in cells:
        row.metric(label, value, change, delta_color="inverse", help=why, border=True, width=208 if len(cells) < 5 else 172)


def told(answer: Answer) -> None:
    """One quiet line on how an answer came about."""
    about = answer.about
    again = "from the cache" if about.get("from_cache") else "just computed"
    text = f"{about['tokens']:,} tokens in {about['windows']} windows · " if about["tokens"] else ""
    if learned := about.get("calibration"):
        text += f"calibrated on the {learned['tokens']:,} that follow in {learned['windows']} windows · "
    st.caption(f"{text}{about['dtype']} on {about['device']} · computed in {about['seconds']:.1f} s · {again}")
