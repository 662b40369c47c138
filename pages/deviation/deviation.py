"""A plan barely moves the hidden states, and generation falls apart all the same: at which layer, token and step?"""

import streamlit as st

from models.subject import Subject
from pages import shell
from pages.deviation import choice as choice_part
from pages.deviation import layers as layer_part
from pages.deviation import plans as plan_fields
from pages.deviation import steps as step_part
from pages.deviation import verdict as verdict_part
from pages.deviation.plans import KEPT
from probes.answer import Answer

shell.menu_first()
_T = ["0.1", "0.2", "0.3", "0.5", "0.7", "1", "1.5", "2", "3", "5"]
_FIELDS = ("T", "tokens", "drift_steps", "chat_turn", "text_read", "curve_prompt", "way", "drift_prompt", "step")
# Two charts stand beside each other as long as both are wide enough to read.
_BESIDE = "<style>[class*=st-key-beside] [data-testid=stColumn] {min-width: 22rem}</style>"


def _temperature() -> float:
    """The dial; a link may name another temperature than those on it."""
    asked = st.session_state.get("T") or st.query_params.get("T") or "1"
    options = sorted({*_T, *([asked] if _possible(asked) else [])}, key=float)
    chosen = st.select_slider(
        "Temperature T", options, "1", key="T", width=300, **KEPT,
        help="T divides the logits before every softmax: a low one sharpens, a high one flattens. Another T is "
        "another question. There is no 0: nothing would be left to compare.",
    )  # fmt: skip
    return float(chosen)


def _possible(text: str) -> bool:
    try:
        return 0.01 <= float(text) <= 100
    except ValueError:
        return False


def _measured_at(subject: Subject, plans: list[str]) -> list[str]:
    """Temperatures at which something is known of these plans and this model."""
    found = set()
    for entry in shell.workbench().store.entries():
        asked = entry.about.get("question", {})
        ours = asked.get("probe") in ("transitions", "generation_drift", "choice_subspace") and asked.get("plan") in plans
        if ours and asked["model"]["fingerprint"] == subject.fingerprint:
            found.add(float(asked["params"]["temperature"]))
    return [f"{each:g}" for each in sorted(found)]


def _ask(subject: Subject, plans: list[str]) -> dict[str, list[Answer | None]]:
    """The three questions, asked of every plan; a button each while something is missing."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        temperature = _temperature()
        last = st.segmented_control(
            "Layers are read at", ["last tokens", "all tokens"], default="last tokens", key="tokens", required=True, **KEPT,
            help="Of each window of the text: the last one as in the paper, or all of them, which takes longer.",
        )  # fmt: skip
        if known := _measured_at(subject, plans):
            st.caption(f"Measured at T = {', '.join(known)}.")
    left, right = st.container(key="beside_settings").columns(2)
    with left:
        drift = step_part.settings(subject)
    with right:
        choice = choice_part.settings()
    none, params = [None] * len(plans), {"temperature": temperature}
    return {
        "transitions": shell.ask_each(
            "transitions", "Measure the layers",
            "Each sublayer alone and the whole plan, on the text of the sidebar: where do states and probabilities leave?",
            subject, plans, params | {"last": last != "all tokens"},
        ),
        "drift": shell.ask_each(
            "generation_drift", "Measure the steps",
            "Both models continue the prompts: at which step do they part, and what becomes of the text?",
            subject, plans, params | drift,
        ),
        "choice": none if choice is None else shell.ask_each(
            "choice_subspace", "Measure the choices",
            "Both models answer multiple-choice items: do they still choose the same, and why?",
            subject, plans, params | choice,
        ),
    }  # fmt: skip


def _warn(asked: dict[str, str]) -> None:
    """Streamlit drops values of a link that a field does not take, without a word."""
    for name, given in asked.items():
        taken = st.session_state.get(name)
        if taken is not None and str(taken).lower() != given.lower():
            st.warning(f"The link says {name}={given}, which is not possible; {name}={taken} is used.")


def _draw(plans: list[str], answers: dict[str, list[Answer | None]]) -> None:
    """What is known, the verdict first."""
    found = {
        name: {plan: answer.result if answer else None for plan, answer in zip(plans, each, strict=True)}
        for name, each in answers.items()
    }
    if not any(result for each in found.values() for result in each.values()):
        return
    st.subheader("Verdict", anchor=False)
    verdict_part.draw(plans, found)
    st.subheader("From hidden states to logits to probabilities", anchor=False)
    layer_part.story(found["transitions"], found["drift"], answers)
    steps, choice, alone = st.tabs(["In the text", "Multiple choice", "Each sublayer alone"], key="part", bind="query-params")
    with steps:
        step_part.draw(found["drift"])
    with choice:
        choice_part.draw(found["choice"])
        layer_part.told(answers["choice"])
    with alone:
        layer_part.alone(found["transitions"])


linked = {name: st.query_params[name] for name in _FIELDS if name in st.query_params and name not in st.session_state}
subject = shell.subject_or_stop()
st.html(_BESIDE)
st.caption(
    "A plan may barely move the hidden states and leave multiple choice alone, and yet ruin what is written. Here you see "
    "where that begins: at which layer, which token, which step."
)
plans = plan_fields.fields(subject)
if plans:
    _draw(plans, _ask(subject, plans))
else:
    st.info("No plan to look at yet: write one in the sidebar, or add one of those above.")
_warn(linked)
