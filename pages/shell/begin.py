"""The plan that a question begins with, apart from the one in the sidebar, which a click on the answer changes."""

import streamlit as st

from pages.shell.state import KEPT, current_plan
from pages.shell.words import refused
from plans.plan import parse
from refusal import Refusal


def base_plan(name: str, what: str) -> str | None:
    """A field for it, bound to the URL as ``name``_base; None: its text is wrong, which is told here.

    Parameters
    ----------
    what : str
        A sentence on what is done on top of it.
    """
    key = f"{name}_base"

    def take() -> None:
        st.session_state[key] = str(current_plan())

    row = st.container(horizontal=True, vertical_alignment="bottom")
    row.text_input("On top of", key=key, placeholder="the dense model, or a plan such as a25,b7", help=what, **KEPT)
    row.button("Use the plan in the sidebar", key=f"{name}_take", on_click=take, width=230)
    try:
        return str(parse(st.session_state[key] or ""))
    except Refusal as refusal:
        refused(refusal)
        return None
