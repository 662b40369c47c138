"""PruneScope's menu: every page gets the same sidebar, so model, text and plan go along."""

from pathlib import Path

import streamlit as st

from pages.flow.order import PLACES

PICTURES = Path(__file__).parent / "pages"  # Streamlit itself would look in the folder that it was started from
st.set_page_config(page_title="PruneScope", page_icon=str(PICTURES / "icon.svg"), layout="wide")
menu = [
    st.Page(f"pages/{name}.py", title=place.title, icon=f":material/{place.icon}:", default=name == "model")
    for name, place in PLACES.items()
]
page = st.navigation(menu)
from pages import shell  # noqa: E402  this loads torch, and the menu should not wait for it
from pages.serving import metrics  # noqa: E402
from pages.shell import door, sidebar  # noqa: E402

with metrics.PAGES.labels(page.title).time():
    st.logo(str(PICTURES / "logo.svg"), size="large")
    st.html(PICTURES / "look.css")
    door.opened()
    shell.finite_link()
    brought = shell.take_link()
    st.title(page.title, anchor=False)
    with shell.linked():
        sidebar.draw()
        if brought:
            st.rerun()
        shell.warn_of_unknown()
        shell.tell_load_error()
        page.run()
