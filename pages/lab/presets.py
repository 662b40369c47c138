"""Plans to start from: what the similarity ranking suggests, and rules of thumb that need no measurement."""

from collections.abc import Callable

import streamlit as st

from pages import shell
from plans.drops import Drops, dropped
from plans.plan import Plan, parse
from probes.redundancy.ranking import most_redundant
from probes.redundancy.similarity import SimilarityResult

Preset = Callable[[int, int], Plan]  # (how many, layers) → plan


def _deepest_blocks(count: int, layers: int) -> Plan:
    """The deepest blocks but the very last one (arXiv 2403.17887, §4.4)."""
    return Plan((Drops(blocks=_deepest(count, layers)),))


def _deepest(count: int, layers: int) -> frozenset[int]:
    return frozenset(range(max(0, layers - 1 - count), layers - 1))


def _deepest_attention(count: int, layers: int) -> Plan:
    return Plan((Drops(attention=_deepest(count, layers)),))


def _every_other_attention(count: int, layers: int) -> Plan:
    return Plan((Drops(attention=frozenset(range(1, layers, 2)[:count])),))


def presets(found: SimilarityResult | None) -> dict[str, Preset]:
    """Presets by name; those by ranking only when similarity is known for this model and text."""
    rules: dict[str, Preset] = {
        "deepest attention but the last": _deepest_attention,
        "deepest blocks but the last": _deepest_blocks,
        "every other attention": _every_other_attention,
    }
    if found is None:
        return rules
    ranked: dict[str, Preset] = {
        f"most redundant {name}": lambda count, _, kind=kind: most_redundant(found, kind, count)
        for name, kind in (
            ("attention", "attention"), ("MLPs", "mlp"), ("blocks", "block"), ("attention or MLPs", "joint"),
        )
    }  # fmt: skip
    ranked["most redundant span of blocks"] = lambda count, layers: parse(found.spans[min(count, layers) - 1]["plan"])
    return ranked | rules


def reached(rule: Callable[[int], Plan], asked: int) -> tuple[int, str]:
    """How many of what was asked for there are, and a sentence where that is fewer."""
    plan = rule(asked)
    given = next(count for count in range(1, asked + 1) if rule(count) == plan)
    return given, "" if given == asked else f"At most {given} can be dropped this way, not the {asked} asked for."


def draw(layers: int, current: Plan) -> None:
    """A chooser of presets; one click makes the preset what the plan drops. What it thins out stays."""
    answer = shell.known("similarity")
    known = presets(answer.result if answer else None)
    row = st.container(horizontal=True, vertical_alignment="bottom")
    chosen = row.selectbox(
        "Preset", list(known), key="preset", width=320, help="Measure similarity to get presets from its rankings as well."
    )
    many = row.number_input("How many", 1, layers, min(4, layers), key="preset_count", width=120)
    plan = known[chosen](int(many), layers) | current.without(Drops.name)
    does = "Replaces what the plan drops" if dropped(current) else "Drops these"
    row.button(
        "Replace drops" if dropped(current) else "Drop these", key="preset_use", on_click=shell.set_plan, args=(plan,),
        help=f"{does}; what it prunes or attends to stays. The plan is then {plan}.",
    )  # fmt: skip
    if clamped := reached(lambda n: known[chosen](n, layers), int(many))[1]:
        st.caption(clamped)
