"""A plan in the words of other tools, to download or copy."""

import streamlit as st

from models.anatomy import Anatomy
from pages import shell
from plans.exports import FORMATS, Given
from plans.plan import Plan
from refusal import Refusal


def draw(anatomy: Anatomy, plan: Plan) -> None:
    """One tab per format; a format that cannot say a plan says so."""
    if not plan:
        st.caption("The plan is empty, so there is nothing to export.")
        return
    try:
        given = Given(shell.model_ref(), anatomy.layers, plan, shell.corpus_ref(), anatomy.dtype)
    except Refusal:  # of the text, which the sidebar's fields tell
        return
    for tab, (name, form) in zip(st.tabs(list(FORMATS)), FORMATS.items(), strict=True):
        with tab:
            st.caption(form.what)
            text = form.write(given)
            if text is None:
                st.info(form.cannot)
                continue
            st.code(text, language=form.language)
            st.download_button(
                "Download", text, file_name=form.file, key=f"download_{name}", on_click="ignore", mime="text/plain"
            )
