"""Drop parts of the model live: dense and pruned answer the same prompt, and the plan is measured."""

from dataclasses import replace

import streamlit as st

from charts import answers, style
from charts.deviation import fidelity
from models.anatomy import Anatomy
from models.generate import Settings, prompt_tokens
from pages import shell
from pages.lab import exports, fields, presets, tried
from plans.plan import Plan
from probes.deviation.fidelity import FidelityResult
from refusal import Refusal

shell.menu_first()
_KINDS = {"attention": "Attention", "mlp": "MLP", "blocks": "Whole block"}
_PROMPT = "What is the capital of France?"


def _grid(layers: int, plan: Plan) -> None:
    """A row of toggles per kind; a dropped block shows in its own row only."""
    for kind, label in _KINDS.items():
        st.session_state[f"grid_{kind}"] = sorted(getattr(plan, kind))
        st.pills(
            label, range(layers), selection_mode="multi", key=f"grid_{kind}", on_change=_from_grid,
            help=f"Click a layer to drop its {label.lower()}, or to put it back." if kind != "blocks" else
            "A block is attention and MLP together; dropping both of a layer comes to the same.",
        )  # fmt: skip


def _from_grid() -> None:
    """Callback: the plan that the toggles show. What was switched off in its row is put back."""
    picked = {kind: frozenset(st.session_state[f"grid_{kind}"]) for kind in _KINDS}
    shell.set_plan(replace(shell.current_plan(), **picked))


def _savings(dense: Anatomy, plan: Plan) -> None:
    left = dense.after(plan)
    rows = [
        ("Parameters", dense.parameters, left.parameters, style.count, "Left after the plan."),
        ("Weights", dense.bytes, left.bytes, lambda b: f"{b / 1e6:,.0f} MB", "Memory of the weights that are left."),
        ("KV cache per token", dense.cache_bytes, left.cache_bytes, lambda b: f"{b / 1024:.1f} KiB",
         "Only dropped attention frees it."),
        ("Multiply-adds per token", dense.multiply_adds, left.multiply_adds, style.count, "Of the weights, per token."),
    ]  # fmt: skip
    shell.metrics(
        [
            (label, spoken(after), f"{after / before - 1:+.1%}" if before and after != before else None, why)
            for label, before, after, spoken, why in rows
        ]
    )


def _write(plan: Plan) -> None:
    """Callback: let both answer."""
    state, bench = st.session_state, shell.workbench()
    subject = bench.subject
    if subject is None:  # somebody has taken the model away since this page was drawn; it says so when drawn again
        return
    _stop()
    try:
        prompt = prompt_tokens(subject.tokenizer, state.prompt, state.chat, subject.context)
        settings = Settings(int(state.answer_length), float(state.temperature), int(state.seed))
        # Drops and what is thinned out beyond them are told apart, where a plan has both.
        steps = dict.fromkeys((Plan(), plan.drops, plan))
        state.live = bench.write(subject, shell.corpus_ref(), list(steps) if plan else [plan, plan], prompt, settings)
    except Refusal as refusal:
        state.live_error = str(refusal)


def _stop() -> None:
    live = shell.workbench().lives.get(st.session_state.get("live"))
    if live is not None:
        live.stop()


def _prompt_form(plan: Plan, has_template: bool) -> None:
    kept = {"bind": "query-params", "persist_state": "session"}
    st.text_area("Prompt", _PROMPT, key="prompt", height=90, **kept)
    row = st.container(horizontal=True, vertical_alignment="bottom")
    row.number_input("Tokens", 1, 4096, 64, key="answer_length", width=110, help="The longest answer.", **kept)
    row.number_input(
        "Temperature", 0.0, 5.0, 0.0, step=0.1, key="temperature", width=130, **kept,
        help="0 always takes the most likely token. Above 0 both models draw with the same dice.",
    )  # fmt: skip
    row.number_input("Seed", 0, 2**31 - 1, 0, key="seed", width=110, help="Of the dice, at a temperature above 0.", **kept)
    row.button("Answer", key="answer", type="primary", on_click=_write, args=(plan,), width=160)
    row.button("Stop", key="stop", on_click=_stop, width=100)
    row.toggle(
        "Chat template", has_template, key="chat", disabled=not has_template, **kept,
        help="Ask as a user's turn, in the format that the model was tuned on." if has_template else
        "This tokenizer has none.",
    )  # fmt: skip
    if error := st.session_state.pop("live_error", None):
        st.error(error, icon=":material/error:")


def _side_by_side() -> None:
    live = shell.workbench().lives.get(st.session_state.get("live"))
    if live is None:
        st.caption("Both answers appear here, token by token, with what they cost.")
    elif live.over.is_set():
        _answers(live)
    else:
        _watch_answers()


@st.fragment(run_every=0.25)
def _watch_answers() -> None:
    live = shell.workbench().lives.get(st.session_state.get("live"))
    if live is None or live.over.is_set():
        st.rerun()
    _answers(live)


def _answers(live) -> None:
    names = [f"Pruned · {plan}" if plan else "Dense" for plan in live.plans]
    tokens = [list(each) for each in live.tokens]
    for place, column in enumerate(st.columns(len(names))):
        with column.container(border=True):
            other = tokens[0] if place else tokens[-1]
            st.markdown(f"**{names[place]}**")
            st.html(answers.answer(tokens[place], other))
            rate, first = answers.speed(tokens[place]), tokens[place][0].seconds if tokens[place] else None
            facts = [f"{len(tokens[place])} tokens"]
            facts += [f"{rate:.1f} tokens/s"] if rate else []
            facts += [f"prompt of {live.prompt_tokens} tokens read in {first * 1e3:.0f} ms"] if first else []
            facts += [f"KV cache {live.cache_bytes[place] / 1024:,.0f} KiB"]
            st.caption(live.text or " · ".join(facts))
    if live.error:
        st.error(live.error, icon=":material/error:")
    for name, written in zip(names[1:], tokens[1:], strict=True):
        _parted(tokens[0], written, f"**{name.removeprefix('Pruned · ')}** " if len(names) > 2 else "", live)
    st.caption("Red edge: the first other token. Amber: not in the other answer. Dotted: less likely than ½.")
    if live.over.is_set():
        with st.expander("Every step as a table"):
            labels = ["dense", *("pruned" if len(names) == 2 else str(plan) for plan in live.plans[1:])]
            st.dataframe(answers.rows(tokens, labels), hide_index=True, key="steps", alt="Every step")


def _parted(dense: list, pruned: list, name: str, live) -> None:
    apart = answers.first_divergence([token.id for token in dense], [token.id for token in pruned])
    if apart is not None:
        st.caption(f"{name}They part at token {apart + 1}.")
    elif live.over.is_set() and not live.error:
        st.caption(name + ("Token for token the same." if len(dense) == len(pruned) else "One is the beginning of the other."))


def _measured(subject, plan: Plan) -> None:
    if not plan:
        st.caption("Drop something first; then perplexity and KL of the plan are measured here.")
    else:
        answer = shell.ask(
            "fidelity", "Measure this plan", "Dense and pruned predict the same text: perplexity, KL, agreement.",
            subject, str(plan),
        )  # fmt: skip
        if answer is not None:
            _fidelity(answer.result, subject)
            shell.told(answer)
    tried.table(subject)


def _fidelity(result: FidelityResult, subject) -> None:
    cells = [
        ("Perplexity", f"{result.perplexity:.2f}", f"{result.perplexity / result.dense_perplexity - 1:+.1%}",
         f"exp of the mean negative log-likelihood, in nats per token; dense: {result.dense_perplexity:.2f}."),
        ("KL(dense‖pruned), nats", f"{result.kl:.4f}", None, f"Per token. Reversed: {result.reverse_kl:.4f} nats."),
        ("Same top token", f"{result.top1_agreement:.1%}", None,
         f"And {result.top5_agreement:.1%} of the five most likely are shared."),
        ("Logit cosine", f"{result.logit_cosine:.4f}", None, "Mean over tokens."),
        ("Probability cosine", f"{result.prob_cosine:.4f}", None, "Mean over tokens."),
    ]  # fmt: skip
    shell.metrics(cells)
    with st.expander("Where it hurts, token by token"):
        windows = len(result.token_kl)
        window = st.slider("Window", 0, windows - 1, key="window") if windows > 1 else 0
        st.plotly_chart(
            fidelity.damage(result, tried.pieces(subject, window), window), key="damage", config=shell.CHART,
            alt="KL at each token of a window",
        )  # fmt: skip


subject = shell.subject_or_stop()
plan = shell.current_plan(subject.layers)
with st.expander("Layers", expanded=True):
    _grid(subject.layers, plan)
    presets.draw(subject, plan)
    fields.draw(plan)
_savings(shell.workbench().anatomy, plan)
st.subheader("Side by side", anchor=False)
_prompt_form(plan, bool(subject.tokenizer.chat_template))
_side_by_side()
st.subheader("Measured", anchor=False)
_measured(subject, plan)
st.subheader("Take it with you", anchor=False)
exports.draw(subject, plan)
