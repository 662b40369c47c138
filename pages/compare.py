"""Many prompts, answered by the dense model and by plans, side by side; voted on blind; found again by their link."""

import streamlit as st

from pages import shell
from pages.comparing import fields, reading, voting
from probes.generation.comparison import Comparison, found
from refusal import Refusal


def _comparison() -> Comparison | None:
    """The one that the link names, or that was made in this session."""
    state = st.session_state
    named = st.query_params.get("comparison") or state.get("comparison")
    if not named:
        return None
    try:
        made = found(shell.workbench().comparisons, named)
    except (Refusal, shell.StoreError) as refusal:
        shell.refused(refusal)
        return None
    state.comparison = named
    if st.query_params.get("comparison") != named:
        st.query_params["comparison"] = named
    return made


shell.menu_first()
comparison = _comparison()
with st.expander("New comparison", expanded=comparison is None):
    fields.draw(comparison)
if comparison is None:
    shell.introduce("compare")
    shell.stop()
fields.caption(comparison)
answers = shell.ask_all(
    "answers", "Generate the answers", "Each model answers every prompt; stored answers are reused.",
    comparison.questions,
)  # fmt: skip
shell.tabs(
    "compare",
    {"Read": lambda: reading.draw(comparison, answers), "Blind vote": lambda: voting.draw(comparison, answers)},
)
shell.next_page("compare")
