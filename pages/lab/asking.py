"""The prompt of the drop lab and how it is answered: the form, and what Answer and Stop do."""

import streamlit as st

from models.generate import Settings
from pages import shell
from pages.shell import KEPT
from plans.plan import EMPTY, Plan
from probes.access.limits import refuse_new_tokens
from probes.generation.writing import Writing
from refusal import Refusal
from settings import settings as operator_settings

_PROMPT = "What is the capital of France?"
# What an answer depends on, in words; the text only counts where a plan learns from it.
_PARTS = {"ref": "model", "plans": "plan", "corpus": "text", "prompt": "prompt", "settings": "settings"}


def form(plan: Plan, has_template: bool) -> None:
    """The prompt and how it is answered."""
    st.text_area("Prompt", _PROMPT, key="prompt", height=90, **KEPT)
    row = st.container(horizontal=True, vertical_alignment="bottom")
    most = operator_settings().new_tokens
    row.number_input("Tokens", 1, most, min(64, most), key="answer_length", width=110, help="Maximum per answer.", **KEPT)
    row.number_input(
        "Temperature", 0.0, 5.0, 0.0, step=0.1, key="temperature", width=130, **KEPT,
        help="0: greedy decoding. Above 0, both models share the random seed.",
    )  # fmt: skip
    row.number_input("Seed", 0, 2**31 - 1, 0, key="seed", width=110, help="Used at temperatures above 0.", **KEPT)
    row.button("Answer", key="answer", type="primary", on_click=_write, args=(plan,), width=160)
    row.button("Stop", key="stop", on_click=_stop, width=100)
    row.toggle(
        "Chat template", has_template, key="chat", disabled=not has_template, **KEPT,
        help="Send the prompt as a user turn, in the chat format the model was tuned on." if has_template else
        "This tokenizer has no chat template.",
    )  # fmt: skip


def _asked(plan: Plan) -> Writing:
    """What the fields ask for now."""
    state = st.session_state
    settings = Settings(int(state.answer_length), float(state.temperature), int(state.seed), bool(state.chat))
    # What needs no text and what was learned beyond it are told apart, where a plan has both.
    plans = tuple(dict.fromkeys((EMPTY, plan.at_once, plan))) if plan else (EMPTY, EMPTY)
    return Writing(shell.model_ref(), shell.corpus_ref(), plans, state.prompt, settings)


def changed(shown: Writing, plan: Plan) -> list[str]:
    """What of an answer that is shown is no longer what the fields say."""
    try:
        now = _asked(plan)
    except (Refusal, TypeError):  # a field is empty or wrong, which is told beside it
        return []
    learns = any(each.learning for each in shown.plans)
    parts = [part for part in _PARTS if part != "corpus" or learns]
    return [_PARTS[part] for part in parts if getattr(shown, part) != getattr(now, part)]


def _write(plan: Plan) -> None:
    """Callback: let both answer."""
    state = st.session_state
    _stop()
    try:
        refuse_new_tokens(int(state.answer_length))
        shell.counted(shell.person(), "answer", lambda: _begun(plan))
    except Refusal as refusal:
        state.answer_error = str(refusal)


def _begun(plan: Plan):
    """Begin to write; tells whether it still goes on."""
    state, bench = st.session_state, shell.workbench()
    state.live = bench.write(_asked(plan), shell.person().name)
    begun = bench.live(state.live)
    return lambda: not begun.over.is_set()


def live() -> shell.Live | None:
    """The answers that this person watches or watched last."""
    return shell.workbench().live(st.session_state.get("live"))


def _stop() -> None:
    shown = live()
    if shown is not None:
        shown.stop()
