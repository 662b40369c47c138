"""What all pages share: the process' workbench, the sidebar whose fields are the URL, and how a job is drawn."""


import streamlit as st

from cache.store import StoreError
from models import Refusal
from models.corpus import CorpusRef
from models.load import ModelRef, Subject
from models.memory import DEVICES, DTYPES
from models.plan import Plan, parse
from pages._workbench import Workbench
from probes.ask import Answer, Question, find, key, submit

CORPORA = ["python-docs", "wikitext-2-raw", "c4-validation"]
CHART = {"displaylogo": False, "scrollZoom": False, "modeBarButtonsToRemove": ["select2d", "lasso2d"]}
_POLL = 0.5  # seconds between looks at something that runs
# The fields of the sidebar: name in the URL → what it is without one.
_FIELDS = {
    "model": "bundled", "revision": "", "dtype": "auto", "device": "auto",
    "corpus": "python-docs", "windows": 8, "length": 512, "bos": False, "plan": "",
}  # fmt: skip


@st.cache_resource(show_spinner=False)
def workbench() -> Workbench:
    """The one object that all sessions of this process share."""
    return Workbench()


def sidebar() -> None:
    """Model, text and plan. Their fields are bound to the URL, so a pasted link restores what was looked at."""
    for name, value in _FIELDS.items():
        st.session_state.setdefault(name, value)
    with st.sidebar:
        st.subheader("Model", anchor=False)
        _model_fields()
        st.subheader("Text", anchor=False)
        _text_fields()
        st.subheader("Plan", anchor=False)
        _plan_fields()


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


def _submit(question: Question, subject: Subject) -> None:
    try:
        submit(workbench().jobs, question, subject)
    except (Refusal, StoreError) as refusal:
        st.session_state[f"refused_{question.probe}"] = str(refusal)


@st.fragment(run_every=_POLL)
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


def told(answer: Answer) -> None:
    """One quiet line on how an answer came about."""
    about = answer.about
    again = "from the cache" if about.get("from_cache") else "just computed"
    st.caption(
        f"{about['tokens']:,} tokens in {about['windows']} windows · {about['dtype']} on {about['device']} · "
        f"computed in {about['seconds']:.1f} s · {again}"
    )


def _model_fields() -> None:
    bench = workbench()
    st.text_input(
        "Name", key="model", bind="query-params", label_visibility="collapsed",
        placeholder="bundled, hub id, folder or .gguf",
        help="`bundled` is SmolLM2-135M-Instruct and needs no network. A hub id, a folder or a .gguf file works too.",
    )  # fmt: skip
    with st.expander("Revision, dtype, device"):
        st.text_input("Revision of a hub id", key="revision", bind="query-params", placeholder="main")
        st.selectbox("Computed in", list(DTYPES), key="dtype", bind="query-params")
        st.selectbox("Device", list(DEVICES), key="device", bind="query-params")
    if error := st.session_state.pop("load_error", None):
        st.error(error)
    loading = bench.loading
    if loading is not None and not loading.over.is_set():
        _watch_loading()
        return
    subject = bench.subject
    same = subject is not None and subject.ref == model_ref()
    if not same:
        st.button("Load", key="load", type="primary", on_click=load_clicked, width="stretch")
    if loading is not None and loading.error:
        st.error(loading.error, icon=":material/error:")
    if subject is not None:
        place = f"{str(subject.dtype).removeprefix('torch.')} · {subject.device}"
        st.caption(f":green[●] **{subject.ref.name}** is loaded · {subject.layers} layers · {place}")


@st.fragment(run_every=_POLL)
def _watch_loading() -> None:
    loading = workbench().loading
    if loading.over.is_set():
        st.rerun()
    st.progress(min(1.0, loading.share), f"{loading.ref.name}: {loading.text}")


def _text_fields() -> None:
    known = [*CORPORA, *({st.session_state.corpus} - {*CORPORA, None, ""})]
    st.selectbox(
        "Corpus", known, key="corpus", bind="query-params", accept_new_options=True, label_visibility="collapsed",
        format_func=lambda name: "own text " + name[5:13] if name.startswith("text:") else name,
        help="python-docs comes with Python. wikitext-2-raw and c4-validation need a network. Or write the path of a "
        ".txt or .jsonl file on this machine; own text can be pasted on the Model page.",
    )  # fmt: skip
    left, right = st.columns(2)
    left.number_input("Windows", 1, 100_000, key="windows", bind="query-params", help="How many stretches of text.")
    right.number_input("Tokens each", 2, 1_000_000, key="length", bind="query-params", help="Length of a window.")
    st.toggle("Begin with BOS", key="bos", bind="query-params", help="Put the beginning-of-text token before each window.")
    subject = workbench().subject
    if subject is not None and subject.expects_bos != st.session_state.bos:
        habit = "expects a BOS token first; without it its numbers mean little" if subject.expects_bos else (
            "was not trained with a BOS token before plain text")  # fmt: skip
        st.caption(f":orange[⚠] {subject.ref.name} {habit}.")


def _plan_fields() -> None:
    state = st.session_state
    subject = workbench().subject
    st.text_input(
        "Plan", key="plan", bind="query-params", label_visibility="collapsed", placeholder="a25,a26,m3,b20-23",
        help="a25: the attention of layer 25 · m3: the MLP of layer 3 · b20-23: the blocks 20 to 23. Layers count from 0.",
    )  # fmt: skip
    try:
        plan = parse(state.plan or "")
        layers = subject.layers if subject else None
        st.caption((plan.checked(layers) if layers else plan).sentence(layers or -1))
    except Refusal as refusal:
        st.error(str(refusal))
    _remember_plan()  # after the field, which takes its first value from the URL
    undo, redo, clear = st.columns(3)
    place, history = state.plan_place, state.plan_history
    undo.button("Undo", key="undo", on_click=_step, args=(-1,), disabled=place == 0, width="stretch")
    redo.button("Redo", key="redo", on_click=_step, args=(1,), disabled=place + 1 == len(history), width="stretch")
    clear.button("Clear", key="clear", on_click=set_plan, args=("",), disabled=not state.plan, width="stretch")


def _remember_plan() -> None:
    """Undo is per person and per tab, so its history is the one thing besides widgets in the session."""
    state = st.session_state
    now = state.plan or ""
    history = state.setdefault("plan_history", [now])
    place = state.setdefault("plan_place", 0)
    if history[place] != now:
        state.plan_history = [*history[: place + 1], now]
        state.plan_place = place + 1


def _step(by: int) -> None:
    st.session_state.plan_place += by
    set_plan(st.session_state.plan_history[st.session_state.plan_place])


