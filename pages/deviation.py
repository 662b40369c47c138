"""A plan barely moves the hidden states, and generation falls apart all the same: at which layer, token and step?"""

import streamlit as st

from pages import shell
from pages.levels import choice as choice_part
from pages.levels import layers as layer_part
from pages.levels import plans as plan_fields
from pages.levels import steps as step_part
from pages.levels import verdict as verdict_part
from pages.shell import KEPT
from probes.answer import Answer

shell.menu_first()
_T = ["0.1", "0.2", "0.3", "0.5", "0.7", "1", "1.5", "2", "3", "5"]

_QUESTIONS = {
    "transitions": (
        "transitions", "Measure the layers",
        "Measures each sublayer alone and the whole plan on the sidebar's text: where do states and probabilities drift?",
    ),
    "drift": (
        "generation_drift", "Measure the steps",
        "Both models continue the prompts: at which step do they diverge, and how does the text change?",
    ),
    "choice": (
        "choice_subspace", "Measure the choices",
        "Both models answer multiple-choice items: do they still make the same choices, and why?",
    ),
}  # fmt: skip


def _temperature() -> float:
    """The dial; a link may name another temperature than those on it."""
    asked = st.session_state.get("T") or st.query_params.get("T") or "1"
    options = sorted({*_T, *([asked] if _possible(asked) else [])}, key=float)
    chosen = st.select_slider(
        "Temperature T", options, "1", key="T", width=300, **KEPT,
        help="T divides the logits before every softmax: below 1 it sharpens, above 1 it flattens. Another T needs another "
             "measurement. Must be above 0.",
    )  # fmt: skip
    return float(chosen)


def _possible(text: str) -> bool:
    try:
        return 0.01 <= float(text) <= 100
    except ValueError:
        return False


def _measured_at(plans: list[str], params: dict[str, dict]) -> list[str]:
    """Temperatures at which the same questions were answered of these plans, with everything else as it is now."""
    return [
        temperature for temperature in _T
        if any(
            shell.answered(probe, plan, given | {"temperature": float(temperature)})
            for probe, given in params.items() for plan in plans
        )
    ]  # fmt: skip


def _ask(chat: bool, plans: list[str]) -> tuple[dict[str, list[Answer | None]], dict]:
    """The three questions, asked of every plan; a button each while something is missing. And what names the texts."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        temperature = _temperature()
        last = st.segmented_control(
            "Tokens", ["last tokens", "all tokens"], default="last tokens", key="tokens", required=True, **KEPT,
            help="Which tokens of each window count: the last one, as in the paper, or all, which takes longer.",
        )  # fmt: skip
        measured = st.empty()
    left, right = shell.beside("settings")
    with left:
        drift = step_part.settings(chat)
    with right:
        choice = choice_part.settings()
    params = {"transitions": {"last": last != "all tokens"}, "generation_drift": drift}
    params |= {} if choice is None else {"choice_subspace": choice}
    if known := _measured_at(plans, params):
        measured.caption(f"Measured at T = {', '.join(known)}.")
    params = {probe: given | {"temperature": temperature} for probe, given in params.items()}
    answers = {
        name: shell.ask_each(probe, button, what, plans, params[probe]) if probe in params else [None] * len(plans)
        for name, (probe, button, what) in _QUESTIONS.items()
    }
    return answers, params["generation_drift"]


def _choices(found: dict, answers: list[Answer | None]) -> None:
    choice_part.draw(found)
    layer_part.provenance(answers)


def _draw(plans: list[str], answers: dict[str, list[Answer | None]], texts: dict) -> None:
    """What is known, the verdict first."""
    found = {
        name: {plan: answer.result if answer else None for plan, answer in zip(plans, each, strict=True)}
        for name, each in answers.items()
    }
    if not any(result for each in found.values() for result in each.values()):
        shell.introduce("deviation")
        return
    st.header("Verdict", anchor=False)
    verdict_part.draw(plans, found)
    st.header("From hidden states to logits to probabilities", anchor=False)
    layer_part.story(found["transitions"], found["drift"], answers)
    shell.tabs(
        "part",
        {
            step_part.TEXT: lambda: step_part.draw(found["drift"], texts),
            "Multiple choice": lambda: _choices(found["choice"], answers["choice"]),
            "Each sublayer alone": lambda: layer_part.alone(found["transitions"]),
        },
    )
    shell.next_page("deviation")


anatomy = shell.anatomy_or_stop("deviation")
st.caption(
    "A plan may barely move the hidden states, leave multiple choice intact, and still ruin the text. This page shows "
    "where that begins: at which layer, which token, which step."
)
plans = plan_fields.fields(anatomy)
if plans:
    _draw(plans, *_ask(anatomy.chat, plans))
else:
    st.info("There is no plan to measure yet: write one in the sidebar, or add one of the plans above.")
    shell.introduce("deviation")
