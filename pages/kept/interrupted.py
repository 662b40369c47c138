"""Questions that the end of a process interrupted: go on with one, or let it go."""

import streamlit as st

from pages import shell
from probes.question import Asked, Question, resolve
from refusal import Refusal


def draw() -> None:
    """A row for each; none where nothing was interrupted."""
    bench = shell.workbench()
    try:
        lines = bench.ledger.interrupted(lambda key: (job := bench.jobs.get(key)) is not None and job.active)
    except shell.StoreError as error:
        shell.refused(error)
        return
    if lines:
        st.markdown("**Interrupted**")
        st.caption("The server stopped while these were running. Finished parts are kept, and each resumes where it stopped.")
    if told := st.session_state.pop("interrupted_refused", None):
        shell.refused(told)
    for line in lines:
        label, on, gone = st.columns([6, 1.2, 1.2], vertical_alignment="center")
        by = f" · asked by {line.owner}" if line.owner not in ("", "local") else ""
        try:
            asked = resolve(Question.of(line.question), bench.known.identify)
        except (Refusal, TypeError, KeyError, ValueError) as error:
            label.caption(shell.plain(f"This question can no longer be asked: {error}"))
        else:
            label.write(shell.plain(f"{asked.label}{by} · {shell.age(line.asked)}"))
            on.button("Resume", key=f"on_{line.key[:12]}", on_click=_go_on, args=(asked,), width="stretch")
        gone.button("Dismiss", key=f"gone_{line.key[:12]}", on_click=bench.ledger.let_go, args=(line.key,), width="stretch",
                    disabled=not (shell.person().operator or shell.person().name == line.owner))  # fmt: skip


def _go_on(asked: Asked) -> None:
    """Callback: ask it again."""
    try:
        shell.submit_all([asked])
    except (Refusal, shell.StoreError) as refusal:
        st.session_state.interrupted_refused = str(refusal)
