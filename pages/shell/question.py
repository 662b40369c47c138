"""Questions on a page: the answer if it is known, else a button that asks, else how far the job is."""

from dataclasses import replace

import streamlit as st

from cache.jobs import Job
from cache.store import StoreError
from models.anatomy import Anatomy
from pages.serving import log
from pages.serving.people import person
from pages.shell.introduction import introduce
from pages.shell.link import stop
from pages.shell.progress import watch_job, watch_loading
from pages.shell.quota import Active, counted
from pages.shell.state import corpus_ref, model_ref
from pages.shell.words import plain, refused
from pages.shell.workbench import Workbench, workbench
from plans.cost import Cost
from plans.plan import Plan
from probes.access.limits import refuse_beyond
from probes.anatomy import counting
from probes.answer import Answer, find, submit
from probes.answer import remembered as kept_so_far
from probes.executors.choice import queue_of
from probes.question import Asked, Question, resolve
from refusal import Refusal


def anatomy_or_stop(page: str = "") -> Anatomy:
    """What is known about the model in the URL; where nothing is, the page ends with a button that loads it.

    Parameters
    ----------
    page : str, optional
        The file's name, as in `PLACES`: what it is for stands above the button.
    """
    try:
        known = workbench().known.anatomy(model_ref())
    except StoreError as error:
        refused(error)
        stop()
    if known is not None:
        return known
    if page:
        introduce(page)
    name = plain(st.session_state.model)
    job = workbench().loading(model_ref())
    if job is not None and job.active:
        st.info(f"**{name}** is loading; this page continues when the model is in memory.")
        watch_loading("page")
    else:
        st.info(f"**{name}** has never been loaded here, so nothing is known about it yet.")
        st.button(f"Load {name}", type="primary", on_click=load_clicked, key="load_here")
    stop()


def tell_load_error() -> None:
    """Say why the model in the URL did not load; app.py does so on every page."""
    job = workbench().loading(model_ref())
    if job is not None and job.state == "failed":
        refused(job.error)


def load_clicked() -> None:
    """Callback: load what the sidebar names."""
    try:
        counted(person(), model_ref(), lambda: _active(workbench().load(model_ref(), person().name)))
    except (Refusal, StoreError) as refusal:
        st.session_state.load_error = str(refusal)


def fetch_clicked(text: str) -> None:
    """Callback: bring a text of the hub here."""
    try:
        counted(person(), f"text {text}", lambda: _active(workbench().fetch(text, person().name)))
    except (Refusal, StoreError) as refusal:
        st.session_state.load_error = str(refusal)


def asked_here(probe: str, plan: str = "", params: dict | None = None) -> Asked:
    """A question about the model and text in the URL, resolved."""
    return resolve(Question(probe, model_ref(), corpus_ref(), plan, params or {}), workbench().known.identify)


def ask(probe: str, button: str, what: str, plan: str = "", params: dict | None = None, page: str = "") -> Answer | None:
    """The answer to a question on the current model and text, if it is known; else a button, or how far the job is.

    Parameters
    ----------
    button, what : str
        The button's label, and a sentence on what a click computes.
    params : dict, optional
        Parameters of the probe; what is not named has its default.
    page : str, optional
        The page, or part of one, that has nothing else to show: what it is for stands above the button.
    """
    above = st.container()
    answer = ask_each(probe, button, what, [plan], params)[0]
    if answer is None and page:
        with above:
            introduce(page)
    return answer


def ask_each(probe: str, button: str, what: str, plans: list[str], params: dict | None = None) -> list[Answer | None]:
    """`ask` for several plans at once, with one button for all that are not known; an answer or None for each."""
    try:
        questions = [Question(probe, model_ref(), corpus_ref(), plan, params or {}) for plan in plans]
    except Refusal as refusal:
        refused(refusal)
        return [None] * len(plans)
    return ask_all(probe, button, what, questions)


def ask_all(probe: str, button: str, what: str, questions: list[Question]) -> list[Answer | None]:
    """`ask_each` for questions that may be about other models and texts; what cannot be asked is told, and None."""
    found: list[Answer | None] = []
    missing, told = [], []
    for question in questions:
        answer = None
        try:
            asked = resolve(question, workbench().known.identify)
            answer = find(workbench().store, asked)
            missing += [] if answer else [asked]
        except (Refusal, StoreError) as refusal:
            told.append(str(refusal))
        found.append(answer)
    for each in dict.fromkeys(told):
        refused(each)
    if missing:
        _offer(probe, button, what, missing)
    return found


def _offer(probe: str, button: str, what: str, missing: list[Asked]) -> None:
    """How far the jobs for what is missing are; where there are none, the button that asks."""
    jobs = [job for asked in missing if (job := workbench().jobs.get(asked.key)) is not None]
    running = [job.key for job in jobs if job.active]
    if running:
        watch_job(running[0], len(running) - 1)
        return
    for error in dict.fromkeys(job.error for job in jobs if job.state == "failed"):
        refused(error)
    for job in (job for job in jobs if job.state == "cancelled"):
        st.info(
            plain(f"Cancelled{f': {job.error}' if job.error else '.'} Nothing else was lost; you can ask again at any time.")
        )
    try:
        for asked in missing:
            refuse_beyond(asked)
    except Refusal as refusal:
        refused(refusal)
        return
    # Not columns: in a narrow window they would cut the buttons' labels, and several of them begin alike.
    row = st.container(horizontal=True, vertical_alignment="center")
    row.button(button, type="primary", key=f"ask_{probe}", on_click=submit_all, args=(missing,), width=210)
    row.caption(what)
    if error := st.session_state.pop(f"refused_{probe}", None):
        refused(error)


def submit_all(questions: list[Asked]) -> None:
    """Callback: ask. The button holds questions, which are data; a model is leased when a job begins."""
    bench = workbench()
    try:
        for asked in questions:
            counted(person(), asked.key, lambda asked=asked: _begun(bench, asked))
    except (Refusal, StoreError) as refusal:
        st.session_state[f"refused_{questions[0].probe.name}"] = str(refusal)


def _begun(bench: Workbench, asked: Asked) -> Active:
    job = submit(bench.jobs, asked, bench.executor.answer, person().name, bench.ledger, queue_of(asked.question.model))
    log.follow(job, asked, person().name)
    return _active(job)


def _active(job: Job) -> Active:
    return lambda: job.active


def known(probe: str, plan: str = "", params: dict | None = None) -> Answer | None:
    """The answer to a question on the current model and text if there is one; what is wrong with them is told elsewhere."""
    try:
        return find(workbench().store, asked_here(probe, plan, params))
    except (Refusal, StoreError):
        return None


def remembered(probe: str, plan: str = "", params: dict | None = None) -> list[dict]:
    """What a probe has kept so far for a question on the current model and text; empty where the question cannot be asked."""
    try:
        return kept_so_far(workbench().store, asked_here(probe, plan, params))
    except (Refusal, StoreError):
        return []


def asking(probe: str, plan: str = "", params: dict | None = None) -> bool:
    """Whether a job is at work on a question on the current model and text."""
    try:
        job = workbench().jobs.get(asked_here(probe, plan, params).key)
    except (Refusal, StoreError):
        return False
    return job is not None and job.active


def answered(probe: str, plan: str = "", params: dict | None = None) -> bool:
    """Whether there is an answer to a question on the current model and text; it is not read."""
    try:
        return workbench().store.has(asked_here(probe, plan, params).key)
    except (Refusal, StoreError):
        return False


def tried(probe: str, there: dict[str, Answer], params: dict | None = None) -> list[tuple[str, Answer]]:
    """Every known answer of a probe on the current model and text, with its plan; those that are ``there`` are not read."""
    try:
        return workbench().known.tried(Question(probe, model_ref(), corpus_ref(), params=params or {}), there)
    except (Refusal, StoreError):
        return []


def cost(anatomy: Anatomy, plan: Plan) -> Cost | None:
    """What a plan leaves of the current model; None where it was not counted yet and the model is not in memory."""
    if not plan:
        return Cost(anatomy.parameters, 0, anatomy.bytes, anatomy.cache_bytes, anatomy.multiply_adds)
    try:
        found = workbench().at_once(replace(asked_here("cost", str(plan)), probe=counting(anatomy)))
    except (Refusal, StoreError):
        return None
    return found.result if found else None
