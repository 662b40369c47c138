"""The three spaces over depth and steps side by side, and each sublayer alone."""

import streamlit as st

from charts.deviation import generation_drift as drift_charts
from charts.deviation import transitions as charts
from pages import shell
from pages.levels import steps
from pages.shell import KEPT
from probes.answer import Answer
from probes.deviation.generation_drift import DriftResult
from probes.deviation.transitions import TransitionsResult
from refusal import plural

_WORDS = ("changed", "part")


def provenance(answers: list[Answer | None]) -> None:
    """How the first of the answers came about."""
    there = [answer for answer in answers if answer]
    if there:
        shell.provenance(there[0])


def story(
    layers: dict[str, TransitionsResult | None], drift: dict[str, DriftResult | None], answers: dict[str, list[Answer | None]]
) -> None:
    """The whole plans: over depth at the left, over steps at the right."""
    row = st.container(horizontal=True, vertical_alignment="bottom")
    prompt, free = steps.which(row, drift) if any(drift.values()) else (None, False)
    band = row.toggle("Spread", True, key="band", **KEPT, help="Over positions on the left, over prompts on the right.")
    guess = row.toggle("Estimates", True, key="estimates", **KEPT, help=(
        "Dotted: estimates for a small change (arXiv 2603.24652, theorems 1 to 3). Far from these, the change is not small."
    ))  # fmt: skip
    left, right = shell.beside("story")
    with left:
        st.markdown("**Over depth**: the whole plan, read after each block")
        if any(layers.values()):
            texts = {plan: found.cumulative.top_pieces for plan, found in layers.items() if found}
            shell.chart(charts.depth(layers, texts, band, guess), "depth", "Deviation over depth")
            st.caption(_positions(next(filter(None, layers.values())), answers["transitions"]))
            provenance(answers["transitions"])
        else:
            st.caption("Measure the layers first.")
    with right:
        st.markdown("**Over steps**: as a text is generated")
        if any(drift.values()):
            shell.chart(drift_charts.steps(drift, prompt, free, band, guess), "steps_chart", "Deviation over steps")
            provenance(answers["drift"])
        else:
            st.caption("Measure the steps first.")


def _positions(found: TransitionsResult, answers: list[Answer | None]) -> str:
    windows = next(answer.about["windows"] for answer in answers if answer)
    which = "the last token of each window" if found.tokens == windows else "every token of the text"
    return f"Means over {plural(found.tokens, 'position')}: {which}."


def alone(layers: dict[str, TransitionsResult | None]) -> None:
    """Attention and MLP of each layer, changed alone."""
    there = {plan: found for plan, found in layers.items() if found}
    if not there:
        st.caption("Measure the layers first.")
        return
    norm = st.toggle(
        "Final norm before the head", True, key="norm", **KEPT,
        help="On: the logits the model would give if it ended there. Off: the head reads the raw stream, as in the paper. "
             "Hidden states are the same either way.",
    )  # fmt: skip
    texts = {
        plan: {kind: getattr(found, kind if norm else f"raw_{kind}").top_pieces for kind in ("attention", "mlp")}
        for plan, found in there.items()
    }
    shell.chart(charts.alone(layers, norm, texts, st.session_state.estimates), "alone", "Each sublayer alone")
    remarks = [
        "Each sublayer is changed alone, on the dense model's own stream: dropped, or pruned where a plan prunes weights.",
        "Larger marks: sublayers that a plan drops." if any(found.mode == "dropped" for found in there.values()) else "",
        "In this model, attention and MLP read the same stream, so both are compared after the block."
        if any(found.parallel for found in there.values()) else "",
    ]  # fmt: skip
    st.caption(" ".join(filter(None, remarks)))
    found = next(iter(there.values()))
    shell.around("alone", found.layers, charts.loudest(found))
    with st.expander("Every sublayer as a table"):
        rows = charts.table(layers, norm)
        kinds = {name: st.column_config.NumberColumn(format="%.5f") for name in rows[0] if name not in _WORDS}
        shell.table(
            rows, key="alone_table", alt="Every sublayer alone", column_config=kinds, selection_mode="single-row",
            on_select=shell.row_part("alone_table", [row["part"] for row in rows]),
        )  # fmt: skip
        st.caption(
            "Parallel and orthogonal parts: norm of the change relative to the norm of h or z. KL in nats. Select a row to "
            "change the plan in the sidebar: its sublayer is dropped as well, or put back."
        )
