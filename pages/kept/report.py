"""Download everything that is stored on the model as one HTML file."""

import html

import streamlit as st

from charts.report.report import report
from pages import shell
from refusal import Refusal
from texts.corpus import text_digest


def draw() -> None:
    """Two buttons: on every plan, and on the plan of the sidebar alone. Nothing is composed before a click."""
    ref, plan, known, own = shell.model_ref(), str(shell.current_plan()), shell.workbench().known, _own()
    there = known.answered(ref)
    if not there:
        st.caption(f"There are no answers on {shell.plain(ref.name)} yet.")
    row = st.container(horizontal=True)
    for label, chosen, key in (("Download a report", "", "report"), (f"Report on {plan} only", plan, "report_plan")):
        if key == "report" or plan:
            row.download_button(
                label, lambda chosen=chosen: _composed(known, ref, chosen, own), file_name="report.html", mime="text/html",
                key=key, on_click="ignore", disabled=not there, icon=":material/download:",
                help="One HTML file with charts, tables and how each number was computed. It opens without a network.",
            )  # fmt: skip


def _own() -> str | None:
    """The one text of somebody's own that the report may show: the one that is open; an operator sees all."""
    try:
        return None if shell.person().operator else text_digest(shell.corpus_ref().name)
    except Refusal:
        return ""


def _composed(known, ref, plan: str, own: str | None = None) -> str:
    """On a thread of Streamlit's own, which has no page to tell why not: then the file says it."""
    try:
        return report(known, ref, plan, own)
    except Refusal as refusal:
        return f"<!doctype html><meta charset=utf-8><p>{html.escape(str(refusal))}</p>"
