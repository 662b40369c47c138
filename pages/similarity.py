"""Which layers hardly change the residual stream; click them away."""

import streamlit as st

from charts import style
from charts.redundancy import similarity as charts
from pages import shell
from pages.lab import presets
from plans.operation import Shape
from plans.plan import Plan, parse
from probes.redundancy.ranking import best_spans, most_redundant
from probes.redundancy.similarity import SimilarityResult, Summary
from refusal import plural

shell.menu_first()
_KINDS = {"attention": "attention", "MLP": "mlp", "block": "block", "attention or MLP": "joint"}
_MEASURES = {
    "angular distance, mean over tokens": "angular",
    "angular distance, last token (Gromov et al.)": "angular_last",
    "cosine": "cosine",
}


def _take(means: SimilarityResult | Summary) -> None:
    kind, count = _KINDS[st.session_state.take_kind], st.session_state.take_count
    shell.set_plan(shell.current_plan() | most_redundant(means, kind, count))


def _take_span(span: dict) -> None:
    shell.set_plan(shell.current_plan() | parse(span["plan"]))


def _importance(result: SimilarityResult, plan: Plan, first: bool) -> None:
    log = st.toggle("Logarithmic", value=True, key="log", persist_state="session")
    shell.clickable(charts.importance(result, plan, first=first, log=log), "importance", "Importance per layer")
    st.caption(
        "Importance is 1 − the mean cosine of the residual stream before and after a part; 0: direction unchanged. Thin "
        "lines span the 5 % to 95 % quantiles over tokens. Click a bar to drop the part or put it back."
    )


def _states(result: SimilarityResult, plan: Plan, first: bool) -> None:
    measure = st.selectbox("Measure", list(_MEASURES), key="measure", persist_state="session")
    figure = charts.states(result, plan, measure=_MEASURES[measure], first=first)
    shell.clickable(figure, "states", "Distance between the states of any two layers")
    st.caption(
        "State l is the stream entering layer l; the last one is before the final norm. A cell shows what dropping the "
        "span between two states would skip; squares mark the best span of each length. Click a cell to drop it."
    )


def _spans(result: SimilarityResult, plan: Plan, first: bool) -> None:
    shell.clickable(charts.spans(result, plan, first=first), "spans", "Angular distance by start and length of a span")
    shell.clickable(charts.span_curve(result, plan), "curve", "Best span by length")


def _contributions(result: SimilarityResult, first: bool) -> None:
    shell.clickable(charts.contributions(result, first=first), "contributions", "Contributions")
    st.caption(
        "Above: norm of the update relative to the stream. Below: cosine(update, stream); below 0 the part erases, near 0 it "
        "writes something new, above 0 it reinforces what is there."
    )


def _ranking(means: SimilarityResult | Summary, plan: Plan, layers: int) -> None:
    parts = [(kind, i) for kind in ("attention", "mlp", "block") for i in range(layers)]
    parts.sort(key=lambda part: -getattr(means, part[0])[part[1]])
    items = [f"{kind[0]}{i}" for kind, i in parts]
    shell.table(
        [
            {"part": item, "importance (1 − cosine)": 1 - getattr(means, kind)[i],
             "update norm ÷ stream norm": getattr(means, f"{kind}_norm")[i],
             "cosine(update, stream)": getattr(means, f"{kind}_turn")[i], "in the plan": plan | parse(item) == plan}
            for item, (kind, i) in zip(items, parts, strict=True)
        ],
        key="ranking", alt="All parts, most redundant first", selection_mode="single-row",
        on_select=shell.row_part("ranking", items),
        column_config={"importance (1 − cosine)": st.column_config.NumberColumn(format="%.6f")},
    )  # fmt: skip
    st.caption("Select a row to drop its part, or to put it back.")


shell.anatomy_or_stop("similarity")
answer = shell.ask(
    "similarity",
    "Measure similarity",
    "One forward pass over the text measures how much each attention, MLP and block changes the direction of the residual "
    "stream.",
    page="similarity",
)
if answer is None:
    shell.stop()
result: SimilarityResult = answer.result
plan = shell.current_plan(Shape(result.layers))
shell.provenance(answer)

without = st.toggle(
    "Exclude first token", key="without_first", bind="query-params",
    help="The first token of a window has huge activations whose direction hardly changes; excluding it raises the scores.",
)  # fmt: skip
means = result.without_first if without else result

# Not columns: in a narrow window they would cut the buttons' labels.
box = st.container(border=True)
row = box.container(horizontal=True, gap="medium")
parts, length = (row.container(horizontal=True, vertical_alignment="bottom", width="content") for _ in range(2))
parts.selectbox("Drop", list(_KINDS), key="take_kind", help="Highest mean cosine first.", width=190)
parts.number_input("How many", 1, 2 * result.layers, 4, key="take_count", width=120)
chosen, asked_for, adds = st.session_state.take_kind, int(st.session_state.take_count), "Also drop" if plan else "Drop"
given, clamped = presets.reached(lambda n: most_redundant(means, _KINDS[chosen], n), asked_for)
parts.button(
    f"{adds} the {plural(given, f'most redundant {chosen} layer')}", key="take", type="primary", on_click=_take, args=(means,),
    help="Adds them to what the plan does already.",
)  # fmt: skip
length.number_input(
    "Span of", 1, result.layers, min(4, result.layers), key="span_length", help="Consecutive blocks.", width=120
)
best = best_spans(means.cosine, means.angular)[st.session_state.span_length - 1]
length.button(
    f"{adds} {style.span(best['start'], best['stop'])}", key="take_span", on_click=_take_span, args=(best,),
    help="Adds the span of this length whose input and output are most similar: angular distance "
    f"{best['angular']:.3f}.",
)  # fmt: skip
if clamped:
    box.caption(clamped)


shell.tabs(
    "similarity_view",
    {
        "Importance": lambda: _importance(result, plan, not without),
        "States": lambda: _states(result, plan, not without),
        "Spans": lambda: _spans(result, plan, not without),
        "Contributions": lambda: _contributions(result, not without),
        "Ranking": lambda: _ranking(means, plan, result.layers),
    },
)
shell.around("similarity", result.layers, result.attention_order[0])
shell.next_page("similarity")
