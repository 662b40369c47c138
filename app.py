"""PruneScope's menu: every page gets the same sidebar, so model, text and plan go along."""

from pathlib import Path

import streamlit as st

PICTURES = Path(__file__).parent / "pages"  # Streamlit itself would look in the folder that it was started from
st.set_page_config(page_title="PruneScope", page_icon=str(PICTURES / "icon.png"), layout="wide")
page = st.navigation(
    [
        st.Page("pages/model.py", title="Model", icon=":material/deployed_code:", default=True),
        st.Page("pages/similarity.py", title="Similarity", icon=":material/layers:"),
        st.Page("pages/scan.py", title="Drop scan", icon=":material/radar:"),
        st.Page("pages/key_rank.py", title="Key rank", icon=":material/key:"),
        st.Page("pages/deviation.py", title="Deviation", icon=":material/ssid_chart:"),
        st.Page("pages/drop_lab.py", title="Drop lab", icon=":material/content_cut:"),
        st.Page("pages/compare.py", title="Compare", icon=":material/compare:"),
        st.Page("pages/decide.py", title="Decide", icon=":material/balance:"),
        st.Page("pages/storage.py", title="Storage", icon=":material/database:"),
    ]
)
from pages import shell  # noqa: E402  this loads torch, and the menu should not wait for it
from pages.shell import door, sidebar  # noqa: E402

st.logo(str(PICTURES / "logo.svg"), size="large")
st.html(PICTURES / "look.css")
door.opened()
shell.finite_link()
sidebar.draw()
st.title(page.title, anchor=False)
shell.tell_load_error()
page.run()
