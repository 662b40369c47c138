"""How fast the plan is and what memory it takes, measured on the machine that serves the app."""

import streamlit as st

from charts.speed import speed as charts
from pages import shell
from pages.shell import KEPT
from plans.drops import Drops
from plans.plan import Plan
from probes.answer import Answer
from probes.speed.speed import SpeedResult
from refusal import plural

_DEFAULTS = {"batch": 1, "prompt": 128, "new": 32}


def draw(plan: Plan) -> None:
    """Fields, the question, its answer, and every plan that was timed the same way on this machine."""
    params = _fields()
    there: dict[str, Answer] = {}
    if not plan:
        shell.introduce("speed")
        st.caption("The plan is empty. Drop something to compare its speed with the dense model's.")
    else:
        answer = shell.ask(
            "speed", "Measure the speed", "Runs the dense and the pruned model alternately; other load on this "
                                          "machine distorts the result.",
            str(plan), params, "speed",
        )  # fmt: skip
        if answer is not None:
            there[str(plan)] = answer
            _answer(answer, plan)
    timed = {name: answer.result for name, answer in shell.tried("speed", there, params)}
    if len(timed) > 1:
        st.markdown("**Plans timed on this machine**")
        shell.clickable(
            charts.ratios(timed), "speed_ratios", "Speed of every plan, as a multiple of the dense model's",
            on_select=lambda: shell.point_plan("speed_ratios"),
        )  # fmt: skip
        st.caption("Click a point, or select a row of the table, to make it the plan.")
        with st.expander("Every plan as a table"):
            shell.table(
                charts.table(timed), key="speed_table", alt="Speed and memory of every plan", selection_mode="single-row",
                on_select=shell.row_plan("speed_table", list(timed)),
            )  # fmt: skip


def given() -> dict[str, int]:
    """What the fields say, or their defaults before they were drawn."""
    return {name: shell.field(f"speed_{name}", default) for name, default in _DEFAULTS.items()}


def _fields() -> dict[str, int]:
    row = st.container(horizontal=True, vertical_alignment="bottom")
    row.number_input("Batch", 1, 4096, _DEFAULTS["batch"], key="speed_batch", width=110, help="Sequences per pass.", **KEPT)
    row.number_input(
        "Prompt tokens",
        1,
        1_000_000,
        _DEFAULTS["prompt"],
        key="speed_prompt",
        width=140,
        help="Prompt tokens per sequence, read in one pass.",
        **KEPT,
    )
    row.number_input(
        "New tokens",
        1,
        100_000,
        _DEFAULTS["new"],
        key="speed_new",
        width=130,
        help="Tokens decoded after the prompt, one per step.",
        **KEPT,
    )
    return given()


def _answer(answer: Answer, plan: Plan) -> None:
    result: SpeedResult = answer.result
    memory = result.memory
    cells = []
    for phase, title in charts.PHASES.items():
        pace = getattr(result, phase)
        interval = f"95 % interval {pace.ratio_low:.2f} to {pace.ratio_high:.2f}, over {plural(result.rounds, 'round')}."
        cells.append((f"{title}, times as fast", f"{pace.ratio:.2f}", None, f"Dense time ÷ pruned time. {interval}"))
        cells.append(
            (f"{title}, tokens/s", f"{pace.rate:,.0f}", None, f"At the median; dense: {pace.dense_rate:,.0f} tokens/s.")
        )
    cells += [
        ("KV cache", f"{memory.cache / 1e6:.2f} MB", None,
         f"Measured after the last step; dense: {memory.dense_cache / 1e6:.2f} MB. Counted: {memory.cache_expected / 1e6:.2f} "
         "MB; layers with a sliding window keep less than that."),
        ("Peak memory", f"{memory.peak / 1e6:,.0f} MB", None,
         f"Of the {memory.kind}, which holds the dense weights in both cases; dense: {memory.dense_peak / 1e6:,.0f} MB."),
    ]  # fmt: skip
    shell.metrics(cells)
    said = " · ".join(f"**{title}**: {getattr(result, phase).says}" for phase, title in charts.PHASES.items())
    st.markdown(said)
    if plan.without(Drops.name):
        st.caption("Zeros are still multiplied, and `k:` keeps the whole KV cache: only drops make this faster.")
    shell.chart(charts.rounds(result), "speed_rounds", "Time of every round, dense and pruned")
    shell.chart(charts.memory(memory), "speed_memory", "Memory of weights, cache and the rest, dense and pruned")
    where = result.circumstances
    text = (
        f"{where.device_name}, {plural(where.threads, 'thread')} · {where.attention} attention · load {where.load_before:.1f}"
    )
    st.caption(f"{text} before, {where.load_after:.1f} after · {'' if where.quiet else ':orange[⚠] '}{where.says}")
    shell.provenance(answer)
