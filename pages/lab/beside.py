"""One prompt answered side by side, token by token, by the dense model and by what the plan makes of it."""

from itertools import combinations

import streamlit as st

from charts.generation import answers
from measures.text import first_divergence
from models.generate import Token
from pages import shell
from pages.lab import asking, keep
from pages.levels.steps import TEXT
from plans.plan import Plan
from probes.deviation.generation_drift import LONGEST
from refusal import plural
from texts.prompts import as_lines

_ABOUT = shell.about("tokens", "tokens/s", "KV cache")


def draw(plan: Plan) -> None:
    """The answers as they grow, and how they differ."""
    live = asking.live()
    if problem := st.session_state.pop("answer_error", None):
        shell.refused(problem)
    if live is None:
        shell.introduce("drop_lab")
        return
    if changed := asking.changed(live.writing, plan):
        st.warning(
            f"These answers are out of date because of changes to the {' and the '.join(changed)}. Press Answer to generate "
            "new ones."
        )
    if live.over.is_set():
        _answers(live)
    else:
        _watch()


@st.fragment(run_every=0.25)
def _watch() -> None:
    live = asking.live()
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
            waiting = _waiting(live, place)
            st.caption(waiting or " · ".join(_facts(live, place, tokens[place])), help=None if waiting else _ABOUT)
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
        "pages/deviation.py", label="Where do the two diverge? → Deviation", icon=":material/ssid_chart:",
        query_params={f"take_{name}": str(value) for name, value in brought.items()},
        help=f"Deviation reads the first {LONGEST:,} steps." if how.length > LONGEST else None,
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
    return "Waiting for the other answers: they all start together."


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
