"""Drop parts of the model live: dense and pruned answer the same prompt, and the plan is measured."""

import time

import streamlit as st

from charts import style
from charts.deviation import fidelity
from models.anatomy import Anatomy
from pages import shell
from pages.lab import asking, beside, chips, exports, named, pills, presets, speed, strip, tried
from plans.cost import shape_of
from plans.plan import Plan
from probes.deviation.fidelity import FidelityResult

shell.menu_first()
_FIRST = 0.1  # seconds that the figures have for themselves: with the whole page after them, a browser shows them twice as late


def _savings(dense: Anatomy, plan: Plan) -> None:
    left = shell.cost(dense, plan)
    if left is None:
        st.caption("Press Load in the sidebar to see what this plan saves.")
        return
    rows = [
        ("Parameters", dense.parameters, left.parameters, style.count,
         f"Parameters left{f', {style.count(left.zeros)} of them zero' if left.zeros else ''}."),
        ("Weights", dense.bytes, left.bytes, lambda b: f"{b / 1e6:,.0f} MB",
         "Memory of the remaining weights; a zero takes as much as any other weight."),
        ("KV cache per token", dense.cache_bytes, left.cache_bytes, lambda b: f"{b / 1024:.1f} KiB",
         "Only dropping attention reduces it."),
        ("Multiply-adds per token", dense.multiply_adds, left.multiply_adds, style.count, "Excludes attention scores."),
    ]  # fmt: skip
    shell.metrics(
        [
            (label, said(after), f"{after / before - 1:+.1%}" if before and after != before else None, why)
            for label, before, after, said, why in rows
        ]
    )


@st.fragment
def _choose(anatomy: Anatomy, drawn: str) -> None:
    """What the plan drops, and what that saves: drawn by itself at once, and then with the page, which was ``drawn`` before."""
    shape = shape_of(anatomy)
    plan = shell.current_plan(shape)
    strip.draw(anatomy.layers, plan)
    chips.draw(plan, shape)
    _savings(anatomy, plan)
    if (st.session_state.plan or "") != drawn:
        time.sleep(_FIRST)
        st.rerun()


def _measured(anatomy: Anatomy, plan: Plan) -> None:
    there = {}
    if not plan:
        st.caption("The plan is empty. Drop something to measure its perplexity and KL.")
    else:
        answer = shell.ask(
            "fidelity", "Measure this plan", "Measures perplexity, KL and agreement on the same text.", str(plan)
        )
        if answer is not None:
            there[str(plan)] = answer
            _fidelity(answer.result)
            shell.provenance(answer)
    tried.table(anatomy, there)


def _fidelity(result: FidelityResult) -> None:
    cells = [
        ("Perplexity", style.number(result.perplexity, 4), style.change(result.perplexity, result.dense_perplexity),
         f"The exponential of the mean negative log-likelihood per token; dense: {style.number(result.dense_perplexity, 4)}."),
        ("KL(dense‖pruned), nats", f"{result.kl:.4f}", None, f"Mean per token. Reversed: {result.reverse_kl:.4f} nats."),
        ("Same top token", f"{result.top1_agreement:.1%}", None,
         f"Of the five most likely tokens, {result.top5_agreement:.1%} are shared."),
        ("Logit cosine", f"{result.logit_cosine:.4f}", None, "Mean over tokens."),
        ("Probability cosine", f"{result.prob_cosine:.4f}", None, "Mean over tokens."),
    ]  # fmt: skip
    shell.metrics(cells)
    with st.expander("KL, token by token"):
        windows = len(result.token_kl)
        window = st.slider("Window", 0, windows - 1, key="window") if windows > 1 else 0
        shell.chart(fidelity.damage(result, result.pieces, window), "damage", "KL at each token of a window")


anatomy = shell.anatomy_or_stop("drop_lab")
shape = shape_of(anatomy)
plan = shell.current_plan(shape)
_choose(anatomy, st.session_state.plan or "")
named.draw(plan, shape)
more = st.expander("Presets, and layers as buttons", key="lab_more", on_change="rerun")
if more.open:  # its many buttons would make every click on the strip slower
    with more:
        presets.draw(anatomy.layers, plan)
        pills.draw(anatomy.layers, plan)
st.header("Side by side", anchor=False)
asking.form(plan, anatomy.chat)
beside.draw(plan)
st.header("Perplexity and KL", anchor=False)
_measured(anatomy, plan)
st.header("Speed and memory", anchor=False)
speed.draw(plan)
st.header("Export", anchor=False)
exports.draw(anatomy, plan)
if plan:
    shell.next_page("drop_lab")
