"""Which plans are compared: the one of the sidebar and up to three more, in fields that a link restores."""

import streamlit as st

from charts.deviation.spaces import PLANS, SIGNS
from models.anatomy import Anatomy
from pages import shell
from pages.lab import presets
from pages.shell import KEPT
from plans.cost import shape_of
from plans.drops import Drops, dropped
from plans.plan import parse
from refusal import Refusal

MORE = ("plan2", "plan3", "plan4")
_COUNT = 4  # sublayers that a preset drops


def offered(layers: int) -> dict[str, str]:
    """Plans one click away, by label: by the similarity ranking where it is known, else by a rule."""
    answer = shell.known("similarity")
    count = min(_COUNT, layers - 1) or 1
    rules = presets.presets(answer.result if answer else None)
    if answer:
        drops = {
            f"attention, {count} most redundant": rules["most redundant attention"](count, layers),
            f"MLP, {count} most redundant": rules["most redundant MLPs"](count, layers),
        }
    else:
        deepest = dropped(rules["deepest blocks but the last"](count, layers)).blocks
        drops = {f"attention, {count} deepest": Drops(attention=deepest), f"MLP, {count} deepest": Drops(mlp=deepest)}
    thinned = {"Wanda 50 %": "w:wanda@0.5", "Wanda 2:4": "w:wanda@2:4"}
    return {label: str(plan) for label, plan in drops.items()} | thinned


def _add(plans: list[str]) -> None:
    """Callback: put plans into the fields that are still empty, the sidebar's first."""
    state = st.session_state
    there = {_canonical(state.get(name) or "") for name in ("plan", *MORE)}
    for plan in (each for each in plans if each not in there):
        empty = next((name for name in ("plan", *MORE) if not (state.get(name) or "").strip()), None)
        if empty is None:
            return
        state[empty] = plan


def _clear() -> None:
    """Callback: compare nothing but the plan of the sidebar."""
    for name in MORE:
        st.session_state[name] = ""


def _canonical(text: str) -> str:
    try:
        return str(parse(text))
    except Refusal:
        return text


def fields(anatomy: Anatomy) -> list[str]:
    """Draw the fields; the plans that can be compared, each once, as canonical texts."""
    state = st.session_state
    shape = shape_of(anatomy)
    current = str(shell.current_plan(shape))
    row = st.container(horizontal=True, vertical_alignment="bottom")
    row.text_input(
        "Plan in the sidebar", current or "none", key=f"plan1_{current}", disabled=True, width=215,
        help="Change it in the sidebar, or with the presets while it is empty.",
    )  # fmt: skip
    for name in MORE:
        row.text_input(
            f"Plan {name[-1]}", key=name, width=215, placeholder="a25,m3 or w:wanda@0.5", **KEPT,
            help="Another plan for the same axes, written as in the sidebar.",
        )  # fmt: skip
    plans = {current: None} if current else {}
    for name in MORE:
        try:
            plans |= {str(parse(state[name] or "").checked(shape)): None}
        except Refusal as refusal:
            shell.refused(f"Plan {name[-1]}: {refusal}")
    plans.pop("", None)
    _buttons(offered(anatomy.layers), list(plans))
    return list(plans)


def _buttons(presets: dict[str, str], plans: list[str]) -> None:
    full = all((st.session_state.get(name) or "").strip() for name in ("plan", *MORE))
    row = st.container(horizontal=True, vertical_alignment="center")
    row.markdown("Add")
    for place, (label, plan) in enumerate(presets.items()):
        row.button(
            label, key=f"add_{place}", on_click=_add, args=([plan],), disabled=full or plan in plans, help=plan, type="tertiary"
        )
    row.button(
        "all four", key="add_all", on_click=_add, args=(list(presets.values()),), type="tertiary", disabled=full,
        help="Fills the empty fields, in this order; what finds none is left out.",
    )  # fmt: skip
    row.button("Clear", key="clear_more", on_click=_clear, type="tertiary", disabled=not any(map(st.session_state.get, MORE)))


def dot(place: int) -> str:
    """The mark of a plan in the charts, as HTML."""
    return f'<span style="color: {PLANS[place]}">{SIGNS[place]}</span>'
