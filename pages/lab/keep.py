"""The answers in the drop lab, made into a comparison that stays."""

import streamlit as st

from pages import shell
from probes.generation.answers import AnswersParams
from probes.generation.comparison import Column, Comparison, keep
from probes.question import resolve
from refusal import Refusal
from texts.corpus import CorpusRef
from texts.prompts import as_lines


def draw(live: shell.Live) -> None:
    """A button that keeps it, and then the link."""
    plans = [str(plan) for plan in live.plans[1:] if plan]
    if not plans or live.error:
        return
    row = st.container(horizontal=True, vertical_alignment="center")
    row.button("Keep", key="keep_answers", icon=":material/bookmark:", on_click=_keep, args=(live, plans),
               help="Saves this as a comparison with its own link; both models generate their answers again.")  # fmt: skip
    if told := st.session_state.pop("keep_refused", None):
        shell.refused(told)
    kept = st.session_state.get("kept_answers", {})
    if kept.get("live") == st.session_state.live:
        row.page_link("pages/compare.py", label="Open it", icon=":material/compare:", query_params={"comparison": kept["id"]})


def _keep(live: shell.Live, plans: list[str]) -> None:
    """Callback: keep the comparison and ask for its answers."""
    state, bench, writing = st.session_state, shell.workbench(), live.writing
    how, learns = writing.settings, any(plan.learning for plan in writing.plans)
    params = AnswersParams(
        as_lines([writing.prompt.strip()]), how.length, how.temperature, how.seed, "on" if how.chat else "off"
    )
    try:
        columns = (Column(writing.ref), *(Column(writing.ref, plan) for plan in plans))
        made = Comparison(columns, params, writing.corpus if learns else CorpusRef(), by=shell.person().name)
        state.kept_answers = {"live": state.live, "id": keep(bench.comparisons, made)}
        asked = [resolve(question, bench.known.identify) for question in made.questions]
        shell.submit_all([each for each in asked if not bench.store.has(each.key)])
    except (Refusal, shell.StoreError) as refusal:
        state.keep_refused = str(refusal)
