"""The dense model's text as tokens to click, each on a redder ground, the higher the KL of the pruned model there."""

from collections.abc import Callable
from pathlib import Path

import streamlit as st

from charts.deviation import generation_drift as charts
from pages import shell
from probes.deviation.generation_drift import DriftResult

_HTML = """<div class="text"><div class="tokens" role="listbox" aria-label="The dense model's text, token by token"></div>
<p class="readout" aria-hidden="true"></p></div>"""


def draw(result: DriftResult, prompt: int, step: int, span: tuple[int, int], choose: Callable[[int], None]) -> None:
    """The text.

    Parameters
    ----------
    step : int
        The step that is framed, from 0.
    span : (start, stop)
        Steps that are underlined; empty where both are equal.
    choose : callable
        Called with the step, from 0, that a person clicked.
    """
    tokens = charts.tokens(result, prompt)

    def chosen() -> None:
        place = st.session_state["drift_text"]["chosen"]
        if type(place) is int and 0 <= place < len(tokens):
            choose(place)

    shell.component("tokens", _HTML, Path(__file__).parent)(
        key="drift_text", on_chosen_change=chosen, data={"tokens": tokens, "chosen": step, "span": list(span)}
    )
