"""The verdict on each plan in words, with the thresholds that its words stand for."""

import html

import streamlit as st

from pages import shell
from pages.levels.plans import dot
from pages.shell import plain
from probes.deviation.limits import CHOICE, GENERATION, RETRIEVAL, THRESHOLDS, UNSURE
from probes.deviation.verdict import verdict

_ICON = {
    "well": ("green", "check"),
    "partly": ("orange", "help"),
    "badly": ("red", "close"),
    UNSURE: ("gray", "hourglass_empty"),
}
_OPEN = 2  # plans up to which all sentences are shown at once; with more of them the charts would be far below
# Of each use, labels of the numbers that stand as its evidence.
_NUMBERS = {RETRIEVAL: ("1 − cos(h)", "from"), CHOICE: ("same choice", "from"), GENERATION: ("KL", "repeated 4-grams", "from")}
_PROBES = {"transitions": "layers", "drift": "steps", "choice": "choices"}


def draw(plans: list[str], found: dict[str, dict]) -> None:
    """A card per plan, two beside each other."""
    columns: list = []
    for place, plan in enumerate(plans):
        if place % 2 == 0:
            columns = shell.beside(f"verdict{place}", 2 if len(plans) > 1 else 1)
        said = verdict(*(found[probe][plan] for probe in _PROBES))
        with columns[place % 2].container(border=True, height="stretch"):
            st.html(f"{dot(place)} <b>{html.escape(plan)}</b>")
            if not said.findings:
                st.caption("Nothing is measured yet.")
                continue
            if said.conclusion:
                st.markdown(f"**{said.conclusion}**")
            for name, use in said.uses.items():
                colour, icon = _ICON[use.word]
                said_of = f":{colour}-badge[:material/{icon}: {name}: {use.word}] {plain(use.evidence)}"
                st.markdown(said_of, help=shell.about(*_NUMBERS[name]))
            with st.expander("Why", expanded=len(plans) <= _OPEN, key=f"why_{place}_{len(plans) <= _OPEN}"):
                st.markdown("\n".join(f"- {plain(sentence)}" for sentence in said.findings))
            missing = [name for probe, name in _PROBES.items() if found[probe][plan] is None]
            if missing:
                st.caption(f"Not measured yet: {', '.join(missing)}.")
    with st.popover("Thresholds", icon=":material/straighten:", key="thresholds", type="tertiary"):
        st.markdown("\n".join(f"- **{name}**: {plain(limit)}. {plain(why)}" for name, limit, why in THRESHOLDS))
        st.caption("The thresholds are conventions that define the badges; the numbers themselves are measured.")
