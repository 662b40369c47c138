"""The answers to one prompt side by side, and all prompts in a table."""

import json
from contextlib import suppress

import streamlit as st

from charts.generation import answers as charts
from pages import shell
from pages.shell import KEPT, not_taken
from probes.answer import Answer, pieces
from probes.generation.answers import AnswersResult, so_far
from probes.generation.apart import ORDERS, Apart, apart, ordered, written
from probes.generation.comparison import Comparison
from probes.question import Asked, resolve
from refusal import Refusal, plural
from texts.prompts import prompts_of

_TITLE = 70  # letters of a prompt in a list
_ABOUT = shell.about("tokens", "first difference", "KL", "ROUGE-L")


def draw(comparison: Comparison, answers: list[Answer | None]) -> None:
    """What is there of it; while some of it is being written, it grows."""
    if all(answers):
        _whole(comparison, [answer.result for answer in answers])
    elif _running(comparison):
        st.fragment(_partial, run_every=shell.POLL)(comparison)
    else:
        _partial(comparison)


def _running(comparison: Comparison) -> bool:
    jobs = [shell.workbench().jobs.get(asked.key) for asked in _asked(comparison)]
    return any(job is not None and job.active for job in jobs)


def _asked(comparison: Comparison) -> list[Asked]:
    """The questions that can be asked here; a model may be unknown, or a text forgotten."""
    found = []
    for question in comparison.questions:
        with suppress(Refusal, shell.StoreError):
            found.append(resolve(question, shell.workbench().known.identify))
    return found


def _partial(comparison: Comparison) -> None:
    """Texts as far as they are written, without what needs all of them."""
    texts = [_so_far(comparison, place) for place in range(len(comparison.columns))]
    prompts = prompts_of(comparison.params.prompts)
    for i, prompt in enumerate(prompts):
        if not any(column[i] for column in texts):
            continue
        st.markdown(f"**{i + 1}.** {shell.plain(prompt)}")
        for place, column in enumerate(shell.beside(f"partial_{i}", len(texts))):
            with column.container(border=True):
                st.caption(shell.plain(comparison.names[place]))
                st.text(texts[place][i] or "…")


def _so_far(comparison: Comparison, place: int) -> list[str | None]:
    bench, column = shell.workbench(), comparison.columns[place]
    try:
        kept = pieces(bench.store, resolve(comparison.questions[place], bench.known.identify))
        return so_far(kept, column.plan, comparison.params)
    except (Refusal, KeyError, shell.StoreError):
        return [None] * len(prompts_of(comparison.params.prompts))


def _whole(comparison: Comparison, results: list[AnswersResult]) -> None:
    names, prompts = comparison.names, results[0].prompts
    found = [
        [apart(results[0], other, i, column.model == comparison.columns[0].model)
         for other, column in zip(results[1:], comparison.columns[1:], strict=True)]
        for i in range(len(prompts))
    ]  # fmt: skip
    order = _choose(prompts, found)
    st.markdown(f"**{order + 1}.** {shell.plain(prompts[order])}")
    _side_by_side(comparison, results, found[order], order)
    st.caption(
        "Red edge: first differing token. Amber: not in the other answer. Dotted underline: probability below ½. Hover for "
        "the most likely tokens."
    )
    rows = charts.summary(prompts, names, found)
    percent = st.column_config.NumberColumn(format="percent")
    shell.table(
        rows, key="compare_table", alt="Metrics of every answer", selection_mode="single-row",
        on_select=_selected(len(names) - 1),
        column_config={"KL": st.column_config.NumberColumn("KL, nats", format="%.4f"), "differing tokens": percent,
                       "ROUGE-L": st.column_config.NumberColumn(format="%.2f"), "repeated 4-grams": percent},
    )  # fmt: skip
    st.caption(
        "KL(dense‖pruned) per token on the dense model's own greedy answer; ROUGE-L and differing tokens against the dense "
        "answer. Select a row to show its prompt."
    )
    _files(comparison, results)


def _selected(columns: int):
    def pick() -> None:
        chosen = st.session_state.compare_table.selection.rows
        if chosen:
            st.session_state.compare_prompt = chosen[0] // columns

    return pick


def _choose(prompts: list[str], found: list[list[Apart]]) -> int:
    """Which prompt is shown: by list, by buttons, by arrow keys; in an order that can be chosen."""
    row = st.container(horizontal=True, vertical_alignment="bottom")
    order = row.selectbox("Order of prompts", ORDERS, key="compare_order", width=240, **KEPT)
    places = ordered(found, order)
    if st.session_state.get("compare_prompt") not in places:
        given = st.query_params.get("compare_item")
        if given is not None and not _linked(places) and "compare_prompt" not in st.session_state:
            not_taken("compare_item", given, places[0])
        st.session_state.compare_prompt = int(given) if _linked(places) else places[0]
    here = places.index(st.session_state.compare_prompt)
    row.button("Previous", key="compare_previous", shortcut="Left", disabled=here == 0, on_click=_go,
               args=(places[max(here - 1, 0)],))  # fmt: skip
    row.button("Next", key="compare_next", shortcut="Right", disabled=here == len(places) - 1, on_click=_go,
               args=(places[min(here + 1, len(places) - 1)],))  # fmt: skip
    row.selectbox("Prompt", places, key="compare_prompt", format_func=lambda i: _short(i, prompts[i]), width=380)
    row.toggle("Stacked", key="compare_stacked", help="One below the other instead of side by side.", **KEPT)
    if st.query_params.get("compare_item") != str(st.session_state.compare_prompt):
        st.query_params["compare_item"] = str(st.session_state.compare_prompt)
    return st.session_state.compare_prompt


def _linked(places: list[int]) -> bool:
    named = st.query_params.get("compare_item", "")
    return named.isdecimal() and len(named) < 6 and int(named) in places


def _short(place: int, prompt: str) -> str:
    return f"{place + 1}. {prompt if len(prompt) <= _TITLE else prompt[: _TITLE - 1] + '…'}"


def _go(place: int) -> None:
    st.session_state.compare_prompt = place


def _side_by_side(comparison: Comparison, results: list[AnswersResult], found: list[Apart], prompt: int) -> None:
    """Every column's answer, marked against the dense one; the dense one against the column that is chosen."""
    tokens = [written(result, prompt) for result in results]
    against = 1
    if len(tokens) > 2:
        against = st.segmented_control(
            "Mark differences from", range(1, len(tokens)), default=1, key="compare_against", required=True,
            format_func=lambda i: comparison.names[i],
        )  # fmt: skip
    stacked = st.session_state.compare_stacked
    places = [st.container() for _ in tokens] if stacked else shell.beside("answers", len(tokens))
    for i, place in enumerate(places):
        with place.container(border=True):
            st.markdown(f"**{shell.plain(comparison.names[i])}**")
            st.html(charts.answer(tokens[i], tokens[0] if i else tokens[against]))
            said = charts.facts(found[i - 1]) if i else f"{plural(len(tokens[0]), 'token')}"
            st.caption(said, help=_ABOUT if i else None)


def _files(comparison: Comparison, results: list[AnswersResult]) -> None:
    rows = charts.texts(comparison.names, results)
    row = st.container(horizontal=True)
    row.download_button("Answers as CSV", charts.as_csv(rows), f"comparison-{comparison.id}.csv", "text/csv", key="compare_csv")
    row.download_button(
        "Answers as JSON", json.dumps(rows, ensure_ascii=False, indent=1), f"comparison-{comparison.id}.json",
        "application/json", key="compare_json",
    )  # fmt: skip
