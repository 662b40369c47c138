"""A job on a page: how far it is, who asked for it, and a button that ends it."""

import streamlit as st

from cache.jobs import Job
from pages.serving.people import person
from pages.shell.state import model_ref
from pages.shell.words import plain
from pages.shell.workbench import workbench
from refusal import plural

POLL = 0.5  # seconds between looks at something that runs


@st.fragment(run_every=POLL)
def watch_job(name: str, behind: int = 0) -> None:
    """How far a job is, and how many wait behind it."""
    job = workbench().jobs.get(name)
    if job is None or not job.active:
        st.rerun()
    left, right = st.columns([5, 1], vertical_alignment="center")
    after = f" · {behind} more in the queue" if behind else ""
    draw_progress(job, left, after)
    cancel_button(job, right, f"cancel_{name[:12]}")


@st.fragment(run_every=POLL)
def watch_loading(name: str) -> None:
    """How far the loading of the model is, at a place of the page that has a ``name``."""
    job = workbench().loading(model_ref())
    if job is None or not job.active:
        st.rerun()
    draw_progress(job, st)
    cancel_button(job, st, f"cancel_load_{name}")


def cancel_button(job: Job, place, key: str) -> None:
    """A button that ends a job: of those who asked for it, each for themselves; an operator ends it for all."""
    me, others = person(), [each for each in job.askers if each != person().name]
    mine = me.name in job.askers
    why = None
    if mine and others:
        why = f"{plural(len(others), 'other')} asked the same, so it keeps running for them."
    elif not mine:
        why = f"Asked by {plain(', '.join(job.askers) or 'the app')}. " + ("" if me.operator else "Only they can cancel it.")
    place.button(
        "Cancel", key=key, on_click=_cancel, args=(job,), disabled=job.cancelling or not (mine or me.operator), help=why,
        width="stretch",
    )  # fmt: skip


def _cancel(job: Job) -> None:
    """Callback: take the question back, or end somebody else's as an operator."""
    me = person()
    if me.name in job.askers:
        job.withdraw(me.name)
    elif me.operator:
        job.cancel(f"{me.name} cancelled it as an operator.")


def draw_progress(job: Job, place, after: str = "") -> None:
    """A bar with what a job does and how long it will take; of one that waits, how many come before it."""
    standing = job.standing
    share = min(1.0, standing.done / standing.total) if standing.total else 0.0
    doing = standing.text
    if standing.state == "queued":
        ahead = workbench().jobs.ahead(job)
        doing = f"queued, {ahead} ahead of it" if ahead else "queued"
    eta = f" · about {standing.eta:.0f} s left" if standing.eta is not None else ""
    place.progress(share, f"{plain(f'{job.label}: {doing}')}{eta}{after}")
