"""The sidebar: model, text and plan. Its fields are bound to the URL, so a pasted link restores what was looked at."""

import streamlit as st

from models.anatomy import Anatomy
from models.loading.memory import DEVICES, DTYPES, native_bfloat16
from pages.shell.progress import watch_job, watch_loading
from pages.shell.question import StoreError, fetch_clicked, load_clicked
from pages.shell.state import model_ref, set_plan
from pages.shell.words import plain, refused
from pages.shell.workbench import workbench
from plans.cost import shape_of
from plans.plan import parse
from plans.registry import help_text, placeholder
from refusal import Refusal, plural
from texts.corpus import NAMES, text_digest
from texts.hub import HUB_TEXTS, NotFetched


def draw() -> None:
    """Draw it; app.py does so on every page."""
    with st.sidebar:
        st.header("Model", anchor=False)
        _model_fields()
        known = _known()
        _standing(known)
        st.header("Text", anchor=False)
        _text_fields(known)
        st.header("Plan", anchor=False)
        _plan_fields(known)


def _model_fields() -> None:
    st.text_input(
        "Name", "bundled", key="model", bind="query-params", label_visibility="collapsed",
        placeholder="bundled, hub id, folder or .gguf",
        help="`bundled` is SmolLM2-135M-Instruct and needs no network. A hub id, a folder or a .gguf file works too.",
    )  # fmt: skip
    with st.expander("Revision, dtype, device"):
        st.text_input("Revision of a hub id", key="revision", bind="query-params", placeholder="main")
        st.selectbox("Precision (dtype)", list(DTYPES), key="dtype", bind="query-params")
        st.selectbox("Device", list(DEVICES), key="device", bind="query-params")
        st.caption(
            "This CPU computes bfloat16 natively: half the memory of float32, and faster." if native_bfloat16() else
            "This CPU does not compute bfloat16 natively, so float32 is faster."
        )  # fmt: skip
    if error := st.session_state.pop("load_error", None):
        refused(error)


def _known() -> Anatomy | None:
    """What is known about the model; of a store that cannot be read the page tells."""
    try:
        return workbench().known.anatomy(model_ref())
    except StoreError:
        return None


def _standing(known: Anatomy | None) -> None:
    """Whether the model is in memory, and a button that brings it there."""
    bench, ref = workbench(), model_ref()
    job = bench.loading(ref)
    if job is not None and job.active:
        watch_loading("sidebar")
        return
    here = [each for each in bench.executor.residents() if known and each.fingerprint == bench.known.identify(ref)]
    if here:
        st.caption(
            f":green[●] **{plain(ref.name)}** is in memory · {plural(known.layers, 'layer')} · {here[0].dtype} · "
            f"{here[0].place}"
        )
        return
    st.button("Load", key="load", type="primary", on_click=load_clicked, width="stretch")
    if known:
        st.caption(f"**{plain(ref.name)}** · {plural(known.layers, 'layer')} · not in memory; stored answers are shown.")


def _text_fields(known: Anatomy | None) -> None:
    names = [*NAMES, *({st.session_state.get("corpus")} - {*NAMES, None, ""})]
    st.selectbox(
        "Corpus", names, key="corpus", bind="query-params", accept_new_options=True, label_visibility="collapsed",
        help="`prose` is included and `python-docs` is part of Python; `wikitext-2-raw` and `c4-validation` are fetched once. "
        "Or write the path of a .txt or .jsonl file on this machine; you can paste text of your own on the Model page.",
    )  # fmt: skip
    name = st.session_state.corpus or ""
    if name and (name not in NAMES or name in HUB_TEXTS):
        try:
            text_digest(name)
        except NotFetched as absent:
            _fetch(absent.name)
        except Refusal as refusal:
            refused(refusal)
    left, right = st.columns(2)
    left.number_input("Windows", 1, 100_000, 8, key="windows", bind="query-params", help="Number of text windows.")
    right.number_input("Tokens each", 2, 1_000_000, 512, key="length", bind="query-params", help="Length of a window.")
    st.toggle("Prepend BOS", key="bos", bind="query-params", help="Puts the beginning-of-text token before each window.")
    if known is not None and known.expects_bos != st.session_state.bos:
        habit = "expects a BOS token first; without it, its numbers mean little" if known.expects_bos else (
            "was not trained with a BOS token before plain text")  # fmt: skip
        st.caption(f":orange[⚠] {plain(st.session_state.model)} {habit}.")


def _fetch(name: str) -> None:
    """A text of the hub: a button that fetches it, or how far that is."""
    job = workbench().fetched(name)
    if job is not None and job.active:
        watch_job(job.key)
        return
    if job is not None and job.state == "failed":
        refused(job.error)
    st.button(f"Fetch {name}", key="fetch_text", on_click=fetch_clicked, args=(name,), width="stretch")
    st.caption("This text comes from the Hugging Face hub; once fetched, it is kept.")


def _plan_fields(known: Anatomy | None) -> None:
    state = st.session_state
    st.text_input(
        "Plan", key="plan", bind="query-params", label_visibility="collapsed", placeholder=placeholder(),
        help=f"{help_text()}. Layers count from 0.",
    )  # fmt: skip
    try:
        plan = parse(state.plan or "")
        shape = shape_of(known) if known else None
        st.caption((plan.checked(shape) if shape else plan).sentence(shape))
    except Refusal as refusal:
        refused(refusal)
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
