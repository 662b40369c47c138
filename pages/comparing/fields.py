"""What is compared: prompts, plans, and how answers are written."""

import streamlit as st

from pages import shell
from pages.shell import KEPT
from plans.plan import parse
from probes.generation.answers import AnswersParams
from probes.generation.comparison import Comparison, columns_of, keep
from probes.question import resolve
from refusal import Refusal, plural
from settings import settings
from texts.corpus import CorpusRef
from texts.prompts import as_lines, prompts_of


def draw(shown: Comparison | None) -> None:
    """The form; a click keeps the comparison and asks for every answer."""
    st.text_area(
        "Prompts, one per line", key="compare_prompts", height=120, placeholder="Empty: eight built-in prompts",
        persist_state="session", help='Or one JSON object per line, as {"prompt": "…"}; its text may hold line breaks.',
    )  # fmt: skip
    if not settings().demo:
        st.file_uploader("or upload a file", ["txt", "jsonl"], key="compare_file", on_change=_uploaded, max_upload_size=1)
    if told := st.session_state.pop("compare_refused", None):
        shell.refused(told)
    _columns()
    row = st.container(horizontal=True, vertical_alignment="bottom")
    row.number_input("Tokens", 1, 4096, 64, key="compare_length", width=110, help="Maximum per answer.", **KEPT)
    row.number_input(
        "Temperature", 0.0, 5.0, 0.0, step=0.1, key="compare_temperature", width=130, **KEPT,
        help="0: greedy decoding. Above 0, all models share the random seed.",
    )  # fmt: skip
    row.number_input("Seed", 0, 2**31 - 1, 0, key="compare_seed", width=110, help="Used at temperatures above 0.", **KEPT)
    row.selectbox("Chat template", ["auto", "on", "off"], key="compare_chat", width=130, **KEPT,
                  help="Send each prompt as a user turn; auto does so where the tokenizer has a template.")  # fmt: skip
    row.text_input("Title", key="compare_title", persist_state="session", width=220, placeholder="optional")
    row.button("Compare", key="compare_ask", type="primary", on_click=_ask, width=140)
    if shown is not None:
        row.button("Copy these settings", key="compare_take", on_click=_take, args=(shown,), width=190,
                   help="Fills the form with the settings of the comparison below.")  # fmt: skip


def _columns() -> None:
    state = st.session_state
    if "compare_plans" not in state and "compare_plans" not in st.query_params:
        state.compare_plans = state.get("plan") or ""
    st.text_area(
        "Plans, one per line", key="compare_plans", height=100, placeholder="a25\nb20-23\na25 @ another/model", **KEPT,
        help="Each is compared with the dense model in the sidebar. `@ name` applies the plan to another model; `@ name` "
             "alone is that model unpruned.",
    )  # fmt: skip


def _uploaded() -> None:
    """Callback: the prompts of a file go into the field."""
    file = st.session_state.compare_file
    if file is None:
        return
    try:
        text = file.getvalue().decode("utf-8-sig")
        prompts_of(text)
        st.session_state.compare_prompts = text.strip()
    except UnicodeDecodeError:
        st.session_state.compare_refused = f"{file.name} is not UTF-8 text. Save it as UTF-8 and try again."
    except Refusal as refusal:
        st.session_state.compare_refused = str(refusal)


def _ask() -> None:
    """Callback: keep the comparison, and ask for what is not known of it."""
    state, bench = st.session_state, shell.workbench()
    try:
        prompts = as_lines(prompts_of(state.compare_prompts)) if (state.compare_prompts or "").strip() else ""
        params = AnswersParams(
            prompts, int(state.compare_length), float(state.compare_temperature), int(state.compare_seed), state.compare_chat
        )
        columns = columns_of(state.compare_plans or "", shell.model_ref())
        learns = any(parse(column.plan).learning for column in columns)
        made = Comparison(
            columns, params, shell.corpus_ref() if learns else CorpusRef(), (state.compare_title or "").strip(),
            shell.person().name,
        )  # fmt: skip
        asked = [resolve(question, bench.known.identify) for question in made.questions]
        state.comparison = st.query_params["comparison"] = keep(bench.comparisons, made)
        shell.submit_all([each for each in asked if not bench.store.has(each.key)])
    except (Refusal, shell.StoreError) as refusal:
        state.compare_refused = str(refusal)


def _take(shown: Comparison) -> None:
    """Callback: the form as this comparison was made, for one that differs a little."""
    state, base = st.session_state, shown.columns[0].model
    state.compare_prompts = shown.params.prompts
    state.compare_plans = "\n".join(
        each.plan if each.model == base else f"{each.plan} @ {each.model.name}".strip() for each in shown.columns[1:]
    )
    for name in ("length", "temperature", "seed", "chat"):
        state[f"compare_{name}"] = getattr(shown.params, name)
    state.compare_title = shown.title


def caption(shown: Comparison) -> None:
    """What is compared, in a line."""
    params = shown.params
    how = "greedy" if params.temperature == 0 else f"temperature {params.temperature:g}, seed {params.seed}"
    by = f" · by {shown.by}" if shown.by not in ("", "local") else ""
    if shown.title:
        st.header(shell.plain(shown.title), anchor=False)
    names = " · ".join(shell.plain(name) for name in shown.names)
    st.caption(
        f"{names} · {plural(len(prompts_of(params.prompts)), 'prompt')}, up to {plural(params.length, 'token')}, {how} · "
        f"made {shell.age(shown.created)}{shell.plain(by)}"
    )
