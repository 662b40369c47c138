"""The text that is written: where the pruned model is far from it, what both would say there, and what each writes alone."""

import html

import streamlit as st

from charts.deviation import generation_drift as charts
from pages import shell
from pages.levels import one_step, tokens
from pages.shell import KEPT
from probes.deviation.generation_drift import LONGEST, DriftResult
from refusal import plural

TEXT = "In the text"  # the tab that this is drawn in
_TITLE = 44  # letters of a prompt in a list
_ALL = "mean of all"
_BEFORE = 12  # tokens shown before a step


def settings(has_template: bool) -> dict:
    """Fields for what is continued; the parameters of the question."""
    with st.expander("Prompts and length"):
        st.text_area(
            "Prompts, one per line", key="drift_prompts", height=120, placeholder="Empty: eight built-in prompts", **KEPT,
            help="Both models continue each prompt greedily.",
        )  # fmt: skip
        row = st.container(horizontal=True, vertical_alignment="bottom")
        row.number_input("Steps", 1, LONGEST, 32, key="drift_steps", width=120, **KEPT, help="Maximum per prompt.")
        row.toggle(
            "Chat template", has_template, key="chat_turn", disabled=not has_template, **KEPT,
            help="Send each prompt as a user turn." if has_template else "This tokenizer has no chat template.",
        )  # fmt: skip
    state = st.session_state
    return {
        "prompts": (state.drift_prompts or "").strip(),
        "chat": "on" if state.chat_turn and has_template else "off",
        "length": int(state.drift_steps or 32),
    }


def which(row, results: dict[str, DriftResult | None]) -> tuple[int | None, bool]:
    """Fields in a row for what the chart over steps shows: one prompt or the mean, the same text or each its own."""
    names = _names(next(result.prompts for result in results.values() if result))
    read = row.segmented_control(
        "Text over steps", ["the dense model's", "each its own"], default="the dense model's", key="text_read",
        required=True, **KEPT,
        help="On the dense model's text both models have the same context, so distances come from the models alone. On "
             "their own texts, after the first difference, they also come from different contexts.",
    )  # fmt: skip
    chosen = _choice(row, "Prompts over steps", [_ALL, *names], "curve_prompt", 240)
    return names.index(chosen) if chosen in names else None, read == "each its own"


def _names(prompts: list[str]) -> list[str]:
    """Prompts as they are listed; a link holds these texts."""
    return [f"{i}. {text if len(text) <= _TITLE else text[: _TITLE - 1] + '…'}" for i, text in enumerate(prompts, 1)]


def _choice(place, label: str, options: list[str], key: str, width: int, **more) -> str:
    """A list to choose from; what was chosen from another list is forgotten."""
    if key in st.session_state and st.session_state[key] not in options:
        st.session_state[key] = options[0]
    return place.selectbox(label, options, key=key, width=width, **KEPT, **more)


def draw(results: dict[str, DriftResult | None], given: dict) -> None:
    """The text of one prompt under one plan; ``given`` are the parameters of the question that the results answer."""
    there = {plan: result for plan, result in results.items() if result}
    if not there:
        st.caption("Measure the steps first.")
        return
    row = st.container(horizontal=True, vertical_alignment="bottom")
    plan = _choice(row, "Plan", list(there), "drift_plan", 260, on_change=_jump, args=(0,))
    result = there[plan]
    names = _names(result.prompts)
    prompt = names.index(_choice(row, "Prompt", names, "drift_prompt", 420, on_change=_jump, args=(0,)))
    step = _along(result, prompt)
    one_step.draw(plan, list(results), given | {"prompt": prompt, "step": step})
    _free(result, prompt, plan)


def _prepare(count: int, worst: int) -> None:
    """Fill the field of the step: what a link or a person chose, within this text, else the worst step (from 0)."""
    state = st.session_state
    if "step" in state or "step" not in st.query_params:
        asked = state.get("step") or worst + 1
        if asked > count:
            st.caption(f"This text has {plural(count, 'token')}: its last step is shown instead of step {asked}.")
        state.step = min(asked, count)


def _along(result: DriftResult, prompt: int) -> int:
    """The dense text, coloured, and what both models would say at one step, which is handed back, from 0."""
    count, spans = len(result.dense_pieces[prompt]), charts.worst(result, prompt)
    st.markdown("**The dense model's text, as the pruned one sees it**")
    strip, row = st.container(border=True), st.container(horizontal=True, vertical_alignment="bottom")
    _prepare(count, spans[0][2] if spans else 0)
    step = row.number_input("Step", 1, count, key="step", width=110, **KEPT) - 1
    with strip:
        span = next((each[:2] for each in spans if each[2] == step), (0, 0))
        tokens.draw(result, prompt, step, span, lambda place: _jump(place + 1))
        st.caption(f"The redder, the larger the KL: full red at {charts.LOUD:g} nats. Click a token to look at its step.")
    for place, (start, stop, peak) in enumerate(spans):
        row.button(
            f"{start + 1}–{stop}" if stop - start > 1 else str(stop), key=f"worst_{place}", on_click=_jump, args=(peak + 1,),
            type="primary" if peak == step else "secondary", help=f"Worst at step {peak + 1}: {_kl(result, prompt, peak)}",
            icon=":material/bolt:" if place == 0 else None,
        )  # fmt: skip
    row.caption("the worst spans" if spans else "no differences here")
    _at_step(result, prompt, step)
    return step


def _at_step(result: DriftResult, prompt: int, step: int) -> None:
    """What stands before a step, and what both models would say there."""
    pieces = [html.escape(piece) for piece in result.dense_pieces[prompt][max(0, step - _BEFORE) : step + 1]]
    start, framed = "…" if step > _BEFORE else "", pieces[-1].replace("\n", "⏎") or "∅"
    st.html(f'<div class="drift">{start}{"".join(pieces[:-1])}<span class="chosen"><b>{framed}</b></span></div>')
    rank, dense, pruned = (each[prompt, step] for each in (result.rank, result.dense_probability, result.probability))
    st.caption(
        f"Step {step + 1}: KL {_kl(result, prompt, step)}. The framed token has {dense:.1%} in the dense model and "
        f"{pruned:.1%} in the pruned one, which {charts.ranked(rank)}."
    )
    shell.chart(charts.alternatives(result, prompt, step), "alternatives", "The likeliest tokens of both models at this step")


def _kl(result: DriftResult, prompt: int, step: int) -> str:
    return f"{result.forced['kl'][prompt, step]:.3g} nats"


def _jump(step: int) -> None:
    st.session_state.step = step


def _free(result: DriftResult, prompt: int, plan: str) -> None:
    """What each writes on its own."""
    st.markdown("**What each model generates on its own**")
    left, right = shell.beside("texts")
    for column, name, pruned in ((left, "Dense", False), (right, f"Pruned · {plan}", True)):
        with column.container(border=True, height="stretch"):
            st.html(f"<b>{html.escape(name)}</b>{charts.written(result, prompt, pruned)}")
            prefix = "" if pruned else "dense_"
            length, ended, distinct, repeated = (
                getattr(result, prefix + name)[prompt] for name in ("length", "ended", "distinct", "repetition")
            )
            st.caption(
                f"{plural(length, 'token')}, {'stopped on its own' if ended else 'cut off at the limit'} · distinct-1, -2, "
                f"-3: {', '.join('–' if each != each else f'{each:.2f}' for each in distinct)} · repeated 4-grams: "
                + ("–" if repeated != repeated else f"{repeated:.0%}"),
                help=shell.about("tokens", "distinct-1", "repeated 4-grams"),
            )
    apart = result.divergence[prompt]
    st.caption(
        "Identical, token for token." if apart is None else
        f"First difference at step {apart + 1} (red edge); amber is not in the other text. "
        f"ROUGE-L {result.rouge_l[prompt]:.2f}: the share of words, in order, that both have.",
        help=shell.about("first difference", "ROUGE-L"),
    )  # fmt: skip
