"""The sidebar: model, text and plan. Its fields are bound to the URL, so a pasted link restores what was looked at."""

import streamlit as st

from models.loading.memory import DEVICES, DTYPES, native_bfloat16
from pages.shell import POLL, load_clicked, model_ref, set_plan, workbench
from plans.plan import parse
from refusal import Refusal

CORPORA = ["python-docs", "wikitext-2-raw", "c4-validation"]
_FIELDS = ("model", "revision", "dtype", "device", "corpus", "windows", "length", "bos", "plan")  # as the URL names them


def draw() -> None:
    """Draw it; app.py does so on every page."""
    asked = {} if "model" in st.session_state else st.query_params.to_dict()
    with st.sidebar:
        st.subheader("Model", anchor=False)
        _model_fields()
        st.subheader("Text", anchor=False)
        _text_fields()
        st.subheader("Plan", anchor=False)
        _plan_fields()
    _warn_of_link(asked)


def _warn_of_link(asked: dict[str, str]) -> None:
    """Streamlit drops values of a link that a field does not take, without a word; a person should know."""
    for name, given in asked.items():
        if name in _FIELDS and given.lower() != str(taken := st.session_state[name]).lower():
            st.warning(f"The link says {name}={given}, which is not possible; {name}={taken} is used.")


def _model_fields() -> None:
    bench = workbench()
    st.text_input(
        "Name", "bundled", key="model", bind="query-params", label_visibility="collapsed",
        placeholder="bundled, hub id, folder or .gguf",
        help="`bundled` is SmolLM2-135M-Instruct and needs no network. A hub id, a folder or a .gguf file works too.",
    )  # fmt: skip
    with st.expander("Revision, dtype, device"):
        st.text_input("Revision of a hub id", key="revision", bind="query-params", placeholder="main")
        st.selectbox("Computed in", list(DTYPES), key="dtype", bind="query-params")
        st.selectbox("Device", list(DEVICES), key="device", bind="query-params")
        st.caption(
            "This CPU computes bfloat16 itself: half the memory of float32, and faster." if native_bfloat16() else
            "This CPU has no bfloat16 of its own; float32 is faster on it."
        )  # fmt: skip
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
    if subject is not None:
        place = f"{str(subject.dtype).removeprefix('torch.')} · {subject.device}"
        st.caption(f":green[●] **{subject.ref.name}** is loaded · {subject.layers} layers · {place}")


@st.fragment(run_every=POLL)
def _watch_loading() -> None:
    loading = workbench().loading
    if loading.over.is_set():
        st.rerun()
    st.progress(min(1.0, loading.share), f"{loading.ref.name}: {loading.text}")


def _text_fields() -> None:
    known = [*CORPORA, *({st.session_state.get("corpus")} - {*CORPORA, None, ""})]
    st.selectbox(
        "Corpus", known, key="corpus", bind="query-params", accept_new_options=True, label_visibility="collapsed",
        format_func=lambda name: "own text " + name[5:13] if name.startswith("text:") else name,
        help="python-docs comes with Python. wikitext-2-raw and c4-validation need a network. Or write the path of a "
        ".txt or .jsonl file on this machine; own text can be pasted on the Model page.",
    )  # fmt: skip
    left, right = st.columns(2)
    left.number_input("Windows", 1, 100_000, 8, key="windows", bind="query-params", help="How many stretches of text.")
    right.number_input("Tokens each", 2, 1_000_000, 512, key="length", bind="query-params", help="Length of a window.")
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
        help="a25: the attention of layer 25 · m3: the MLP of layer 3 · b20-23: the blocks 20 to 23 · "
        "w:wanda@0.5: half of the weights to zero (magnitude, wanda, sparsegpt; 2:4; /attention, /mlp) · k:0.25/0.5: attention "
        "to half of the keys, chosen in a quarter of their dimensions. Layers count from 0.",
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
