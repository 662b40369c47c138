"""One step of a text, layer by layer: in which layer the pruned model leaves the dense one there."""

import streamlit as st

from charts.deviation import step_layers as charts
from charts.deviation import transitions
from pages import shell


def draw(plan: str, plans: list[str], given: dict) -> None:
    """The question, and its answer.

    Parameters
    ----------
    plans : list of str
        All that are compared, in the order of their colours.
    given : dict
        Parameters of the probe.
    """
    st.markdown("**At which layer does this step go wrong?**")
    [answer] = shell.ask_each(
        "step_layers", "Find the layer",
        f"Reads both models at step {given['step'] + 1} after every block: in which one do states and probabilities diverge?",
        [plan], given,
    )  # fmt: skip
    if answer is None:
        return
    texts, estimates = {plan: answer.result.cumulative.top_pieces}, st.session_state.get("estimates", True)
    alone = {each: answer.result if each == plan else None for each in plans}
    shell.chart(transitions.depth(alone, texts, False, estimates), "step_depth", "Deviation over depth at one step")
    st.markdown(charts.sentence(answer.result))
    shell.provenance(answer)
    shell.around("step", answer.result.layers, layer=charts.parting(answer.result))
