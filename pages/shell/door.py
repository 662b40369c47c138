"""The door of the app: whoever may not use it sees why, and nothing else."""

import streamlit as st

from pages.shell.people import Person, login_configured, person, tell_reach
from refusal import Refusal


def opened() -> Person:
    """Who comes in; for anybody else the page ends here. app.py asks on every page."""
    try:
        tell_reach()
        return person()
    except Refusal as refusal:
        st.error(str(refusal), icon=":material/lock:")
        if login_configured():
            st.button("Log in", key="log_in", type="primary", on_click=st.login)
        st.stop()
