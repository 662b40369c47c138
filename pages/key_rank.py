"""How many dimensions the keys really use, head by head, and what attention in only those would buy and cost."""

import streamlit as st

from charts.keys import key_rank as charts
from pages import shell
from pages.keys import low_rank
from pages.shell import KEPT
from probes.keys.key_rank import LEVELS, KeyRankResult
from texts.corpus import label

shell.menu_first()
_PLENTY = 10  # keys per dimension from which a rank hardly depends on their number
_LEVELS = {f"{100 * level:g}": level for level in LEVELS}


def _numbers(result: KeyRankResult, level: float) -> None:
    post, spread = charts.mean_rank(charts.ranks(result, "post", level))
    pre, pre_spread = charts.mean_rank(charts.ranks(result, "pre", level))
    value, _ = charts.mean_rank(charts.ranks(result, "value", level))
    without, _ = charts.mean_rank(charts.ranks(result, "without_first", level))
    by_layer = charts.ranks(result, "post", level).mean(axis=1)
    lowest = sorted(range(result.layers), key=lambda i: (by_layer[i], i))[:3]
    of = f"of {result.head_dim}, mean over heads ± standard deviation over layers"
    cells = [
        ("Rank of the keys", f"{post:.1f} ± {spread:.1f}", None, f"Keys as attention compares them: dimensions {of}."),
        ("Before rotation", f"{pre:.1f} ± {pre_spread:.1f}", None, f"Keys after the projection and its norm: dimensions {of}."),
        ("Values", f"{value:.1f}", None, f"Rank of the values, for comparison, of {result.value_dim} dimensions."),
        ("Without first token", f"{without:.1f}", f"{without - post:+.1f}",
         "Rotated keys without the first token of each window, whose key is often huge and can hold most of the variance."),
        ("Lowest layers", ", ".join(map(str, lowest)), None,
         f"Fewest dimensions: {', '.join(f'{by_layer[i]:.1f}' for i in lowest)}."),
    ]  # fmt: skip
    shell.metrics(cells if any(result.rotary) else [cells[0], *cells[2:]])
    st.caption(f"The fewest principal directions that explain {100 * level:g} % of the variance, of {result.head_dim}.")
    if result.limited:
        st.warning(
            f"There are {result.tokens:,} keys per head and {result.head_dim} dimensions: a rank cannot exceed the number of "
            "keys minus one, so these numbers describe the text, not the model. Use more or longer windows."
        )
    elif result.tokens < _PLENTY * result.head_dim:
        st.caption(
            f"With few keys, ranks are underestimated: here, {result.tokens:,} keys for {result.head_dim} dimensions. Above "
            f"about {_PLENTY * result.head_dim:,} keys they hardly change."
        )
    still = [i for i, rotated in enumerate(result.rotary) if not rotated]
    if len(still) == result.layers:
        st.caption("This model does not rotate its keys by position: before and after are the same.")
    elif still:
        st.caption(f"Layers {', '.join(map(str, still))} do not rotate their keys: there, before and after are the same.")


def _heads(result: KeyRankResult, level: float) -> None:
    """Map of all heads, and the spectrum of the chosen one."""
    state = st.session_state
    for name, count, what in (("layer", result.layers, "layer"), ("head", result.heads, "KV head")):
        if state.get(name) is not None and not 0 <= state[name] < count:  # from another model
            st.caption(f"This model has no {what} {state[name]}: the last one, {count - 1}, is shown.")
            state[name] = count - 1
    left, right = shell.beside("heads", [1.1, 1])
    with right:
        row = st.container(horizontal=True)
        layer = row.number_input("Layer", 0, result.layers - 1, key="layer", width=140, **KEPT) or 0
        head = row.number_input("KV head", 0, result.heads - 1, key="head", width=140, **KEPT) or 0
        shell.chart(
            charts.spectrum(result, layer, head, level), "spectrum",
            f"Variance explained by the leading dimensions of layer {layer}, head {head}",
        )  # fmt: skip
        st.caption(
            "The further left a line rises, the fewer dimensions the keys use. Dots are at 80, 90, 95 and 99 %."
            + ("" if result.rotary[layer] else " This layer does not rotate its keys.")
        )
    shell.clickable(
        charts.heads(result, level, (layer, head)), "heads", "Rank of the keys by layer and head", left,
        lambda: low_rank.pick("heads", layer=int, head=int),
    )  # fmt: skip
    left.caption("Click a cell to see its spectrum.")
    shell.around("key_rank", result.layers, layer=layer)
    with st.expander("Every head as a table"):
        pre, post = (charts.ranks(result, states, level) for states in ("pre", "post"))
        shell.table(
            [
                {"layer": i, "head": j, "rank before rotation": int(pre[i, j]), "rank": int(post[i, j]),
                 "effective rank": result.effective_rank_post[i, j], "participation ratio": result.participation_post[i, j],
                 "effective rank before rotation": result.effective_rank_pre[i, j]}
                for i in range(result.layers) for j in range(result.heads)
            ],
            key="heads_table", alt="Ranks of every head",
        )  # fmt: skip


def _stability(result: KeyRankResult) -> None:
    """Whether the directions found on one text are those of another."""
    against = st.selectbox(
        "Second text", low_rank.texts(st.session_state.get("against")), key="against", accept_new_options=True, width=320,
        format_func=lambda name: name or "none: compare the halves of this one", **KEPT,
        help="Name another text as in the sidebar, or write the path of a .txt or .jsonl file.",
    )  # fmt: skip
    other = shell.plain(label(against))
    if against:
        answer = shell.ask(
            "key_rank", "Compare the texts", f"One more pass, over {other}: do its keys use the same directions?",
            params={"other": against},
        )  # fmt: skip
        if answer is None:
            return
        result = answer.result
    shell.chart(charts.overlap(result), "overlap", "Overlap of the leading subspaces")
    st.markdown(charts.overlap_in_words(result, *(shell.plain(label(name)) for name in (st.session_state.corpus, against))))
    if result.overlap_limited:
        st.warning("One of the two texts has fewer keys than dimensions, so its directions are partly chance.")


anatomy = shell.anatomy_or_stop("key_rank")
answer = shell.ask(
    "key_rank", "Measure key rank", "One forward pass counts how many dimensions the keys of each head use.", page="key_rank"
)  # fmt: skip
if answer is None:
    shell.stop()
result: KeyRankResult = answer.result
shell.provenance(answer)
chosen = st.segmented_control(
    "Variance to explain (%)", list(_LEVELS), default="90", key="level", required=True, **KEPT,
    help="A rank is the fewest dimensions that explain this share of the variance of a head's keys.",
)  # fmt: skip
level = _LEVELS[chosen or "90"]
_numbers(result, level)
_heads(result, level)
st.header("Along the layers", anchor=False)
shell.chart(charts.layers(result, level), "layers", "Rank along the layers")
st.caption(
    "Lines are means over heads; bands span the lowest to the highest head."
    + ("" if level == result.level else f" Queries are counted at {100 * result.level:g} % only.")
)
st.header("Does the basis generalise?", anchor=False)
_stability(result)
st.header("Low-rank attention", anchor=False)
low_rank.draw(result, anatomy)
shell.next_page("key_rank")
