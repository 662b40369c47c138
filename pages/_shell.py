"""What all pages share: the process' workbench, what the sidebar says, and how a question and its job are drawn."""

import streamlit as st
from streamlit.runtime.pages_manager import PagesManager

from cache.store import StoreError
from models import Refusal
from models.corpus import CorpusRef
from models.load import ModelRef, Subject
from models.plan import Plan, parse
from pages._workbench import Workbench
from probes.ask import Answer, Question, find, key, measured, submit

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


def ask(probe: str, button: str, what: str, subject: Subject, plan: str = "") -> Answer | None:
    """The answer to a question on the current model and text, if it is known; else a button, or how far the job is.

    Parameters
    ----------
    button, what : str
        The button's label, and a sentence on what a click computes.
    """
    bench = workbench()
    try:
        question = Question(probe, subject.ref, corpus_ref(), plan)
        answer = find(bench.store, question, subject)
        name = key(question, subject)
    except (Refusal, StoreError) as refusal:
        st.error(str(refusal), icon=":material/error:")
        return None
    if answer is not None:
        return answer
    job = bench.jobs.get(name)
    if job is not None and job.active:
        _watch_job(name)
        return None
    if job is not None and job.state == "failed":
        st.error(job.error, icon=":material/error:")
    if job is not None and job.state == "cancelled":
        st.info("Cancelled. Nothing else was lost; ask again when you like.")
    left, right = st.columns([1, 3], vertical_alignment="center")
    left.button(button, type="primary", key=f"ask_{probe}", on_click=_submit, args=(question, subject), width="stretch")
    right.caption(what)
    if error := st.session_state.pop(f"refused_{probe}", None):
        st.error(error, icon=":material/error:")
    return None


def known(probe: str, subject: Subject) -> Answer | None:
    """The answer to a question on the current model and text if there is one; what is wrong with them is told elsewhere."""
    try:
        return find(workbench().store, Question(probe, subject.ref, corpus_ref()), subject)
    except (Refusal, StoreError):
        return None


def tried(probe: str, subject: Subject) -> list[tuple[str, Answer]]:
    """Every known answer of a probe on the current model and text, with its plan."""
    try:
        return measured(workbench().store, probe, subject, corpus_ref())
    except (Refusal, StoreError):
        return []


def _submit(question: Question, subject: Subject) -> None:
    try:
        submit(workbench().jobs, question, subject)
    except (Refusal, StoreError) as refusal:
        st.session_state[f"refused_{question.probe}"] = str(refusal)


@st.fragment(run_every=POLL)
def _watch_job(name: str) -> None:
    job = workbench().jobs.get(name)
    if job is None or not job.active:
        st.rerun()
    standing = job.standing
    share = min(1.0, standing.done / standing.total) if standing.total else 0.0
    wait = "waiting for its turn" if standing.state == "queued" else standing.text
    eta = f" · about {standing.eta:.0f} s left" if standing.eta is not None else ""
    left, right = st.columns([5, 1], vertical_alignment="center")
    left.progress(share, f"{job.label}: {wait}{eta}")
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
    st.caption(
        f"{about['tokens']:,} tokens in {about['windows']} windows · {about['dtype']} on {about['device']} · "
        f"computed in {about['seconds']:.1f} s · {again}"
    )
