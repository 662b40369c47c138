"""One prompt answered side by side, token by token, by the dense model and by what the plan makes of it."""

from itertools import combinations

import streamlit as st

from charts.generation import answers
from measures.text import first_divergence
from models.generate import Settings, Token
from pages import shell
from pages.lab import keep
from pages.levels.steps import TEXT
from pages.shell import KEPT
from plans.plan import EMPTY, Plan
from probes.access.limits import refuse_new_tokens
from probes.deviation.generation_drift import LONGEST
from probes.generation.writing import Writing
from refusal import Refusal, plural
from settings import settings as operator_settings
from texts.prompts import as_lines

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


def draw(plan: Plan) -> None:
    """The answers as they grow, and how they differ."""
    live = _live()
    if problem := st.session_state.pop("answer_error", None):
        shell.refused(problem)
    if live is None:
        shell.introduce("drop_lab")
        return
    if changed := _changed(live.writing, plan):
        st.warning(
            f"These answers are out of date: the {' and the '.join(changed)} changed since. Press Answer to write new ones."
        )
    if live.over.is_set():
        _answers(live)
    else:
        _watch()


def _asked(plan: Plan) -> Writing:
    """What the fields ask for now."""
    state = st.session_state
    settings = Settings(int(state.answer_length), float(state.temperature), int(state.seed), bool(state.chat))
    # What needs no text and what was learned beyond it are told apart, where a plan has both.
    plans = tuple(dict.fromkeys((EMPTY, plan.at_once, plan))) if plan else (EMPTY, EMPTY)
    return Writing(shell.model_ref(), shell.corpus_ref(), plans, state.prompt, settings)


def _changed(shown: Writing, plan: Plan) -> list[str]:
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
    live = bench.live(state.live)
    return lambda: not live.over.is_set()


def _live() -> shell.Live | None:
    return shell.workbench().live(st.session_state.get("live"))


def _stop() -> None:
    live = _live()
    if live is not None:
        live.stop()


@st.fragment(run_every=0.25)
def _watch() -> None:
    live = _live()
    if live is None or live.over.is_set():
        st.rerun()
    _answers(live)


def _answers(live: shell.Live) -> None:
    names = ["Dense", *(f"Pruned · {plan}" if plan else "Dense" for plan in live.plans[1:])]
    over = live.over.is_set()  # before the tokens are taken: an answer that ends meanwhile is drawn once more
    tokens = [list(each) for each in live.tokens]
    pairs = list(combinations(range(len(names)), 2))
    marked = _marked(live, pairs)
    for place, column in enumerate(st.columns(len(names))):
        with column.container(border=True):
            other = tokens[sum(marked) - place] if place in marked else []
            st.markdown(f"**{names[place]}**")
            st.html(answers.answer(tokens[place], other))
            st.caption(_waiting(live, place) or " · ".join(_facts(live, place, tokens[place])))
    if live.error:
        shell.refused(live.error)
    for pair in pairs:
        said = _parted(*(tokens[place] for place in pair), over and not live.error)
        if said:
            st.caption(said if len(pairs) == 1 else f"**{_pair(live, pair)}**: {said[0].lower()}{said[1:]}")
    st.caption("Red edge: first differing token. Amber: not in the other answer. Dotted underline: probability below ½.")
    if over:
        keep.draw(live)
        _lead_on(live, first_divergence([token.id for token in tokens[0]], [token.id for token in tokens[-1]]))
        with st.expander("Every step as a table"):
            labels = ["dense", *("pruned" if len(names) == 2 else str(plan) for plan in live.plans[1:])]
            shell.table(answers.rows(tokens, labels), key="steps", alt="Every step")


def _lead_on(live: shell.Live, apart: int | None) -> None:
    """A link to where this prompt is looked at step by step, at the step where the greedy answers part."""
    if not live.plans[-1]:
        return
    how = live.writing.settings
    brought = {
        "drift_prompts": as_lines([live.writing.prompt.strip()]), "drift_steps": min(how.length, LONGEST),
        "chat_turn": str(how.chat).lower(), "part": TEXT,
    }  # fmt: skip
    if apart is not None and apart < LONGEST and how.temperature == 0:  # there, both texts are greedy
        brought["step"] = apart + 1
    st.page_link(
        "pages/deviation.py", label="Where do the two part? → Deviation", icon=":material/ssid_chart:",
        query_params={f"take_{name}": str(value) for name, value in brought.items()},
    )  # fmt: skip


def _marked(live: shell.Live, pairs: list[tuple[int, int]]) -> tuple[int, int]:
    """Which two answers are marked against each other: with three of them, as chosen."""
    if len(pairs) == 1:
        return pairs[0]
    named = {_pair(live, pair): pair for pair in pairs}
    whole = _pair(live, (0, len(live.plans) - 1))
    chosen = st.segmented_control("Marked", list(named), default=whole, key="marked_pair", required=True,
                                  help="Which two answers are marked where they differ from each other.")  # fmt: skip
    return named.get(chosen, named[whole])


def _pair(live: shell.Live, pair: tuple[int, int]) -> str:
    return " and ".join(str(live.plans[place]) or "dense" for place in pair)


def _waiting(live: shell.Live, place: int) -> str:
    """What an answer waits for before its first token: learning stands where something is learned and nowhere else."""
    learns = [bool(plan.learning) for plan in live.plans]
    if not live.text or learns[place] or not any(learns):
        return shell.plain(live.text)
    return "Waits for the other answers: they begin together."


def _facts(live: shell.Live, place: int, written: list[Token]) -> list[str]:
    facts = [f"{plural(len(written), 'token')}"]
    if rate := answers.speed(written):
        facts.append(f"{rate:.1f} tokens/s{' while other work ran' if live.beside else ''}")
    if written:
        facts.append(f"prompt of {plural(live.prompt_tokens, 'token')} read in {written[0].seconds * 1e3:.0f} ms")
    return [*facts, f"KV cache {live.cache_bytes[place] / 1024:,.0f} KiB"]


def _parted(one: list[Token], other: list[Token], over: bool) -> str:
    """Where two answers part; empty while that is not known."""
    apart = first_divergence([token.id for token in one], [token.id for token in other])
    if apart is not None:
        return f"First difference at token {apart + 1}."
    if not over:
        return ""
    return "Identical, token for token." if len(one) == len(other) else "One is a prefix of the other."
