"""Drop parts of the model live: dense and pruned answer the same prompt, and the plan is measured."""

import streamlit as st

from charts import style
from charts.deviation import fidelity
from charts.generation import answers
from measures.text import first_divergence
from models.anatomy import Anatomy
from models.generate import Settings
from pages import shell
from pages.lab import chips, exports, keep, named, pills, presets, speed, strip, tried
from pages.shell import KEPT
from plans.cost import shape_of
from plans.plan import EMPTY, Plan
from probes.access.limits import refuse_new_tokens
from probes.deviation.fidelity import FidelityResult
from probes.generation.writing import Writing
from refusal import Refusal
from settings import settings as operator_settings

shell.menu_first()
_PROMPT = "What is the capital of France?"


def _savings(dense: Anatomy, plan: Plan) -> None:
    left = shell.cost(dense, plan)
    if left is None:
        st.caption("What this plan saves is counted once the model is in memory: press Load in the sidebar.")
        return
    rows = [
        ("Parameters", dense.parameters, left.parameters, style.count,
         f"Parameters that the plan leaves{f', {style.count(left.zeros)} of them zero' if left.zeros else ''}."),
        ("Weights", dense.bytes, left.bytes, lambda b: f"{b / 1e6:,.0f} MB",
         "Memory that the remaining weights take; a zero takes as much as any other weight."),
        ("KV cache per token", dense.cache_bytes, left.cache_bytes, lambda b: f"{b / 1024:.1f} KiB",
         "Only dropping attention makes it smaller."),
        ("Multiply-adds per token", dense.multiply_adds, left.multiply_adds, style.count, "Attention scores are not counted."),
    ]  # fmt: skip
    shell.metrics(
        [
            (label, said(after), f"{after / before - 1:+.1%}" if before and after != before else None, why)
            for label, before, after, said, why in rows
        ]
    )


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
    settings = Settings(int(state.answer_length), float(state.temperature), int(state.seed), bool(state.chat))
    # What needs no text and what was learned beyond it are told apart, where a plan has both.
    steps = list(dict.fromkeys((EMPTY, plan.at_once, plan))) if plan else [EMPTY, EMPTY]
    writing = Writing(shell.model_ref(), shell.corpus_ref(), tuple(steps), state.prompt, settings)
    state.live = bench.write(writing, shell.person().name)
    live = bench.live(state.live)
    return lambda: not live.over.is_set()


def _live() -> shell.Live | None:
    return shell.workbench().live(st.session_state.get("live"))


def _stop() -> None:
    live = _live()
    if live is not None:
        live.stop()


def _prompt_form(plan: Plan, has_template: bool) -> None:
    st.text_area("Prompt", _PROMPT, key="prompt", height=90, **KEPT)
    row = st.container(horizontal=True, vertical_alignment="bottom")
    most = operator_settings().new_tokens
    row.number_input("Tokens", 1, most, min(64, most), key="answer_length", width=110, help="The maximum per answer.", **KEPT)
    row.number_input(
        "Temperature", 0.0, 5.0, 0.0, step=0.1, key="temperature", width=130, **KEPT,
        help="At 0, the most likely token is always taken. Above 0, both models draw with the same random numbers.",
    )  # fmt: skip
    row.number_input("Seed", 0, 2**31 - 1, 0, key="seed", width=110, help="For temperatures above 0.", **KEPT)
    row.button("Answer", key="answer", type="primary", on_click=_write, args=(plan,), width=160)
    row.button("Stop", key="stop", on_click=_stop, width=100)
    row.toggle(
        "Chat template", has_template, key="chat", disabled=not has_template, **KEPT,
        help="Send the prompt as a user turn, in the chat format the model was tuned on." if has_template else
        "This tokenizer has no chat template.",
    )  # fmt: skip


def _side_by_side() -> None:
    live = _live()
    if problem := st.session_state.pop("answer_error", None):
        shell.refused(problem)
    if live is None:
        st.caption("Both answers appear here, token by token, with their speed and memory.")
    elif live.over.is_set():
        _answers(live)
    else:
        _watch_answers()


@st.fragment(run_every=0.25)
def _watch_answers() -> None:
    live = _live()
    if live is None or live.over.is_set():
        st.rerun()
    _answers(live)


def _answers(live: shell.Live) -> None:
    names = [f"Pruned · {plan}" if plan else "Dense" for plan in live.plans]
    tokens = [list(each) for each in live.tokens]
    for place, column in enumerate(st.columns(len(names))):
        with column.container(border=True):
            other = tokens[0] if place else tokens[-1]
            st.markdown(f"**{names[place]}**")
            st.html(answers.answer(tokens[place], other))
            st.caption(shell.plain(live.text) or " · ".join(_facts(live, place, tokens[place])))
    if live.error:
        shell.refused(live.error)
    for name, written in zip(names[1:], tokens[1:], strict=True):
        _parted(tokens[0], written, f"**{name.removeprefix('Pruned · ')}** " if len(names) > 2 else "", live)
    st.caption("Red edge: first token that differs. Amber: not in the other answer. Dotted line: probability below ½.")
    if live.over.is_set():
        keep.draw(live)
        with st.expander("Every step as a table"):
            labels = ["dense", *("pruned" if len(names) == 2 else str(plan) for plan in live.plans[1:])]
            st.dataframe(answers.rows(tokens, labels), hide_index=True, key="steps", alt="Every step")


def _facts(live: shell.Live, place: int, written: list) -> list[str]:
    facts = [f"{len(written)} tokens"]
    if rate := answers.speed(written):
        facts.append(f"{rate:.1f} tokens/s")
    if written:
        facts.append(f"prompt of {live.prompt_tokens} tokens read in {written[0].seconds * 1e3:.0f} ms")
    return [*facts, f"KV cache {live.cache_bytes[place] / 1024:,.0f} KiB"]


def _parted(dense: list, pruned: list, name: str, live: shell.Live) -> None:
    apart = first_divergence([token.id for token in dense], [token.id for token in pruned])
    if apart is not None:
        st.caption(f"{name}First difference at token {apart + 1}.")
    elif live.over.is_set() and not live.error:
        st.caption(name + ("Identical, token for token." if len(dense) == len(pruned) else "One is a prefix of the other."))


def _measured(anatomy: Anatomy, plan: Plan) -> None:
    there = {}
    if not plan:
        st.caption("The plan is empty. Drop something to measure its perplexity and KL.")
    else:
        answer = shell.ask(
            "fidelity", "Measure this plan", "Measures perplexity, KL and agreement on the same text.", str(plan)
        )
        if answer is not None:
            there[str(plan)] = answer
            _fidelity(answer.result)
            shell.provenance(answer)
    tried.table(anatomy, there)


def _fidelity(result: FidelityResult) -> None:
    cells = [
        ("Perplexity", style.number(result.perplexity, 4), style.change(result.perplexity, result.dense_perplexity),
         f"The exponential of the mean negative log-likelihood per token; dense: {style.number(result.dense_perplexity, 4)}."),
        ("KL(dense‖pruned), nats", f"{result.kl:.4f}", None, f"Mean per token. Reversed: {result.reverse_kl:.4f} nats."),
        ("Same top token", f"{result.top1_agreement:.1%}", None,
         f"Of the five most likely tokens, {result.top5_agreement:.1%} are shared."),
        ("Logit cosine", f"{result.logit_cosine:.4f}", None, "Mean over tokens."),
        ("Probability cosine", f"{result.prob_cosine:.4f}", None, "Mean over tokens."),
    ]  # fmt: skip
    shell.metrics(cells)
    with st.expander("KL, token by token"):
        windows = len(result.token_kl)
        window = st.slider("Window", 0, windows - 1, key="window") if windows > 1 else 0
        shell.chart(fidelity.damage(result, result.pieces, window), "damage", "KL at each token of a window")


anatomy = shell.anatomy_or_stop()
shape = shape_of(anatomy)
plan = shell.current_plan(shape)
strip.draw(anatomy.layers, plan)
chips.draw(plan, shape)
_savings(anatomy, plan)
named.draw(plan, shape)
more = st.expander("Presets, and layers as buttons", key="lab_more", on_change="rerun")
if more.open:  # its many buttons would make every click on the strip slower
    with more:
        presets.draw(anatomy.layers, plan)
        pills.draw(anatomy.layers, plan)
st.subheader("Side by side", anchor=False)
_prompt_form(plan, anatomy.chat)
_side_by_side()
st.subheader("Perplexity and KL", anchor=False)
_measured(anatomy, plan)
st.subheader("Speed and memory", anchor=False)
speed.draw(plan)
st.subheader("Export", anchor=False)
exports.draw(anatomy, plan)
