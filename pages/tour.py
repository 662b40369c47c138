"""One minute on answers that came with the app: what redundancy is, what it costs, how it reads. No model is loaded."""

import streamlit as st

from charts import style, thumbnail
from charts.deviation import tried as tried_charts
from charts.generation import answers
from charts.redundancy import similarity
from pages import shell
from pages.shell.introduction import tried
from plans.plan import parse
from probes.answer import Answer
from probes.generation.apart import apart, written
from probes.tour.shipped import ATTENTIONS, MLPS, PROMPTS, shipped

_STEPS = ("1 · Redundancy", "2 · What it costs", "3 · How it reads", "4 · Your turn")
_PLANS = {"attention": ("four attention layers", ATTENTIONS), "mlp": ("four MLPs", MLPS)}

shell.menu_first()


def _where() -> str:
    """The step, in a row of buttons and in the link."""
    if st.query_params.get("tour_step") not in _STEPS:
        st.session_state.setdefault("tour_step", _STEPS[0])
    row = st.container(horizontal=True, vertical_alignment="center")
    row.segmented_control(
        "Step", _STEPS, key="tour_step", required=True, label_visibility="collapsed", bind="query-params"
    )  # fmt: skip
    row.page_link("pages/model.py", label="Leave the tour", icon=":material/close:")
    return st.session_state.tour_step or _STEPS[0]


def _go(step: str) -> None:
    """Callback: another step."""
    st.session_state.tour_step = step


def _redundancy(there: dict[str, Answer]) -> None:
    result = there["similarity"].result
    low, high = (sorted(1 - getattr(result, kind)[i] for i in getattr(result, f"{kind}_order")[:4]) for kind in _PLANS)
    left, right = shell.beside("tour", [1, 1.6])
    left.markdown(
        f"This is SmolLM2-135M ({result.layers} layers), measured over {result.tokens:,} tokens of prose. A bar is **1 − "
        "cosine** of the residual stream before and after one part: a short bar is a part that hardly changes its direction. "
        "Such a part looks redundant.\n\n"
        f"The four shortest bars of each kind are hatched. The four attention layers are at {style.number(low[0])} to "
        f"{style.number(low[-1])}, the four MLPs at {style.number(high[0])} to {style.number(high[-1])}: here attention is the "
        "more redundant kind, as papers have found for larger models (arXiv 2406.15786).\n\n"
        "It is a score, and not yet a price: the model has not been run without them."
    )
    figure = similarity.importance(result, parse(f"{ATTENTIONS},{MLPS}"), kinds=tuple(_PLANS))
    shell.chart(
        thumbnail.still(figure),
        "tour_importance",
        "How far each attention and MLP changes the direction of the residual stream",
        right,
    )
    _open("similarity", "Open this on Similarity", ATTENTIONS, left)


def _price(there: dict[str, Answer]) -> None:
    dense = there["anatomy"].result
    worse = there["fidelity mlp"].result.kl / there["fidelity attention"].result.kl
    left, right = shell.beside("tour", [1.2, 1])
    with left:
        st.markdown(
            "Now both plans are measured: the model reads the same text with the parts really gone. **KL** is how much its "
            f"predictions change, in nats per token. Four MLPs cost **{worse:.1f} times** as much as four "
            "attention layers."
        )
        for kind, (name, plan) in _PLANS.items():
            found, cost = there[f"fidelity {kind}"].result, there[f"cost {kind}"].result
            st.markdown(f"**{style.capital(name)}** · `{plan}`")
            shell.metrics(
                [
                    ("KL(dense‖pruned), nats", f"{found.kl:.3f}", None, "Mean per token."),
                    ("Perplexity", style.number(found.perplexity, 4), style.change(found.perplexity, found.dense_perplexity),
                     f"Dense: {style.number(found.dense_perplexity, 4)}."),
                    ("Parameters", f"{cost.parameters / dense.parameters - 1:+.1%}", None, "Against the dense model."),
                    ("KV cache per token", f"{cost.cache_bytes / dense.cache_bytes - 1:+.1%}", None, "Against dense."),
                ]
            )  # fmt: skip
    right.markdown("What is saved depends on the kind, too: only attention frees the KV cache, and MLPs hold more parameters.")
    shell.chart(
        thumbnail.still(tried_charts.tried(tried())), "tour_tried", "KL of both plans against the parameters they keep", right
    )
    _open("drop_lab", "Open this attention plan in the Drop lab", ATTENTIONS, left)


def _reading(there: dict[str, Answer]) -> None:
    dense = there["answers dense"].result
    st.markdown(
        "A number says how much changed; only the text says what. Both plans answer the same prompt, always with the likeliest "
        "token. A red edge is the first token that differs, amber is what the dense answer lacks, and a dotted underline is "
        "a token to which the model gave a probability below ½."
    )
    prompt = PROMPTS.index(st.selectbox("Prompt", PROMPTS, key="tour_prompt"))
    for place, (kind, name) in enumerate({"dense": "the dense model", **{k: v[0] for k, v in _PLANS.items()}}.items()):
        if not place:
            columns = shell.beside("tour_answers", 3)
        result = there[f"answers {kind}"].result
        with columns[place].container(border=True):
            other = there["answers attention"].result if kind == "dense" else dense
            st.markdown(f"**{style.capital(name)}**")
            st.html(answers.answer(written(result, prompt), written(other, prompt)))
            if kind != "dense":
                st.caption(
                    answers.facts(apart(dense, result, prompt)),
                    help=shell.about("tokens", "first difference", "KL", "ROUGE-L"),
                )
    st.markdown(
        "A model of this size breaks early; larger ones can take more. Either way, a small KL on plain text does not promise "
        "good long answers: read some before you decide."
    )
    _open("drop_lab", "Open this MLP plan in the Drop lab", MLPS)


def _your_turn(there: dict[str, Answer]) -> None:
    st.markdown(
        "That is the whole loop: **find** what looks redundant, **drop** it, **read** and measure what changed, **decide** "
        "under a budget, and export a checkpoint. The bundled model needs no network and loads within seconds."
    )
    job = shell.workbench().loading(shell.model_ref())
    if job is not None and job.active:
        shell.watch_loading("tour")
    else:
        st.button("Load the bundled model", key="load_tour", type="primary", on_click=_load)
    shell.next_page("model")


def _load() -> None:
    """Callback: the bundled model, whatever the sidebar names."""
    st.session_state.model, st.session_state.revision = "bundled", ""
    shell.load_clicked()


def _open(page: str, label: str, plan: str, place=st) -> None:
    """A link to a page with a plan in the sidebar."""
    place.page_link(f"pages/{page}.py", label=label, icon=":material/arrow_forward:", query_params={"take_plan": plan})


step = _where()
there = shipped()
{_STEPS[0]: _redundancy, _STEPS[1]: _price, _STEPS[2]: _reading, _STEPS[3]: _your_turn}[step](there)
after = _STEPS[_STEPS.index(step) + 1 :]
if after:
    st.button(f"Next: {after[0][4:]}", key="tour_next", type="primary", on_click=_go, args=(after[0],))
versions = there["similarity"].about["versions"]
st.caption(
    f"These answers came with the app; they were computed in {there['similarity'].about['dtype']} on a CPU with "
    f"{' and '.join(f'{name} {version}' for name, version in versions.items())}. They are not in your store."
)
