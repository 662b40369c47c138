"""The door of the app: whoever may not use it sees why, and nothing else."""

import streamlit as st

from pages.serving.people import LOCAL, SOMEBODY, Person, login_configured, person, tell_reach
from pages.shell.words import plain, refused
from refusal import Refusal


def opened() -> Person:
    """Who comes in; for anybody else the page ends here. app.py asks on every page."""
    try:
        tell_reach()
        return _shown(person())
    except Refusal as refusal:
        refused(refusal)
        if login_configured():
            st.button("Log in", key="log_in", type="primary", on_click=st.login)
        st.stop()


def _shown(who: Person) -> Person:
    """Say in the sidebar who that is, where there is more than one."""
    if who.name not in (LOCAL, SOMEBODY):
        row = st.sidebar.container(horizontal=True, vertical_alignment="center")
        row.caption(f"{plain(who.name)}{' · operator' if who.operator else ''}")
        if login_configured():
            row.button("Log out", key="log_out", type="tertiary", on_click=st.logout)
    return who
