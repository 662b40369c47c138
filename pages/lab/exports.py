"""A plan in the words of other tools, to download or copy."""

import streamlit as st

from models.subject import Subject
from plans.exports import FORMATS
from plans.plan import Plan


def draw(subject: Subject, plan: Plan) -> None:
    """One tab per format; a format that cannot say a plan says so."""
    if not plan:
        st.caption("The plan is empty: there is nothing to take along.")
        return
    for tab, (name, form) in zip(st.tabs(list(FORMATS)), FORMATS.items(), strict=True):
        with tab:
            st.caption(form.what)
            text = form.write(subject.ref, subject.layers, plan)
            if text is None:
                st.info(form.cannot)
                continue
            st.code(text, language=form.language)
            st.download_button(
                "Download", text, file_name=form.file, key=f"download_{name}", on_click="ignore", mime="text/plain"
            )
