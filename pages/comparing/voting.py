"""Two answers without names: which is better? And, after the last vote, what everybody said."""

import json

import streamlit as st

from charts.generation import votes as charts
from pages import shell
from probes.answer import Answer
from probes.generation.comparison import Comparison
from probes.generation.votes import CHOICES, SEEN, Pair, Vote, cast, counted, open_for, pairs_for, rate, strengths, votes_on
from refusal import plural

_BUTTONS = {
    "left": ("Left is better", "Left"),
    "right": ("Right is better", "Right"),
    "both": ("Both good", "Up"),
    "neither": ("Both bad", "Down"),
}


def draw(comparison: Comparison, answers: list[Answer | None]) -> None:
    """The next pair for this person, or the result."""
    if not all(answers):
        st.caption("Voting opens once all answers are generated.")
        return
    try:
        votes = votes_on(shell.workbench().votes, comparison.id)
    except shell.StoreError as error:
        shell.refused(error)
        return
    if told := st.session_state.pop("vote_refused", None):
        shell.refused(told)
    person = shell.person().name
    texts = [answer.result.texts for answer in answers]
    pairs = pairs_for(person, comparison.id, texts)
    left = open_for(person, pairs, votes)
    if left:
        _ask(comparison, answers, left[0], len(pairs) - len(left), len(pairs))
    elif pairs or votes:
        _result(comparison, counted(votes, pairs), texts)
    else:
        st.info("All answers are the same, so there is nothing to vote on.")


def _ask(comparison: Comparison, answers: list[Answer], pair: Pair, done: int, every: int) -> None:
    st.progress(done / every, f"{done} of {plural(every, 'pair')} voted on")
    st.markdown(f"**Prompt.** {shell.plain(answers[0].result.prompts[pair.prompt])}")
    sides = shell.beside("vote", 2)
    for place, side, column in zip(sides, ("Left", "Right"), (pair.left, pair.right), strict=True):
        with place.container(border=True):
            st.caption(side)
            st.text(answers[column].result.texts[pair.prompt] or "(nothing)")
    row = st.container(horizontal=True, horizontal_alignment="center")
    for choice in CHOICES:
        label, key = _BUTTONS[choice]
        row.button(label, key=f"vote_{choice}", shortcut=key, on_click=_cast, args=(comparison.id, pair, choice))
    st.caption("Model names and scores stay hidden while you vote. Votes are final.")
    with st.popover("Stop voting and see the result"):
        st.write("After that you can no longer vote on this comparison, because you will know which model wrote what.")
        st.button("Show the result", key="vote_seen", on_click=_cast, args=(comparison.id, pair, SEEN))


def _cast(comparison: str, pair: Pair, choice: str) -> None:
    """Callback: add a vote."""
    vote = Vote(comparison, pair.prompt, pair.left, pair.right, choice, shell.person().name, texts=pair.texts)
    try:
        cast(shell.workbench().votes, vote)
    except shell.StoreError as error:
        st.session_state.vote_refused = str(error)


def _result(comparison: Comparison, votes: list[Vote], texts: list[list[str]]) -> None:
    names = comparison.names
    found = [
        rate(votes, 0, column, sum(a == b for a, b in zip(texts[0], texts[column], strict=True)))
        for column in range(1, len(names))
    ]
    people = len({vote.by for vote in votes})
    count = f"{plural(len(votes), 'vote')} by {plural(people, 'person', 'people')}."
    said = " ".join(f"**{shell.plain(names[each.second])}** against dense: {each.says}." for each in found)
    st.markdown(f"{count} {said}")
    if any(each.prompts for each in found):
        shell.chart(charts.rates(found, names), "vote_rates", "How often each plan is preferred to the dense model")
    three = st.column_config.NumberColumn(format="%.3f")
    percent = st.column_config.NumberColumn(format="percent")
    columns = {"preferred": percent, "from": percent, "to": percent}
    columns |= {name: three for name in ("strength", "strength from", "strength to")}
    taken = [comparison.columns[each.second] for each in found]
    plans = [column.plan if column.plan and column.model == comparison.columns[0].model else None for column in taken]
    shell.table(
        charts.table(found, names, strengths(votes, len(names))), key="vote_table", alt="Votes as a table",
        column_config=columns, selection_mode="single-row",
        on_select=shell.row_plan("vote_table", plans),
    )  # fmt: skip
    st.caption(
        "A tie counts as half. Intervals are 95 %, by bootstrap over prompts; with votes on fewer than six prompts there is no "
        "verdict. Identical answers are not voted on. Strength: Bradley–Terry over all pairs, in log-odds against dense. "
        "Select a row to make its plan the plan; plans for other models stay where they are."
    )
    _files(comparison, votes)


def _files(comparison: Comparison, votes: list[Vote]) -> None:
    rows = [vars(vote) | {"left": comparison.names[vote.left], "right": comparison.names[vote.right]} for vote in votes]
    st.download_button("Votes as JSON", json.dumps(rows, ensure_ascii=False, indent=1), f"votes-{comparison.id}.json",
                       "application/json", key="votes_json")  # fmt: skip
