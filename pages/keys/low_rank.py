"""Attention to few keys chosen in few dimensions: what it would save, what it costs, and on to the drop lab with it."""

from contextlib import suppress

import streamlit as st

from charts import style
from charts.keys import low_rank_attention as charts
from models.anatomy import Anatomy
from models.loading.weight_files import ITEMSIZE
from pages import shell
from pages.shell import KEPT
from plans.keys import Keys
from plans.keys.shares import LowRank
from plans.plan import Plan
from probes.answer import Answer
from probes.keys.attention_cost import decode_cost, paper_ratio, read_ratio
from probes.keys.key_rank import KeyRankResult
from probes.keys.low_rank_attention import LowRankResult, shares
from refusal import Refusal, plural
from texts.corpus import NAMES, label

_SHARES = ["1", "0.5", "0.25", "0.125", "0.0625"]


def pick(chart: str, **fields: type) -> None:
    """Callback of a chart whose points carry the values of some fields, in their order."""
    for value, (name, kind) in zip(shell.picked(chart), fields.items(), strict=False):
        st.session_state[name] = f"{value:g}" if kind is str else kind(value)


def texts(now: str | None) -> list[str]:
    """Names of the texts to choose from beside the one of the sidebar, which is the empty name."""
    return ["", *dict.fromkeys(name for name in (*NAMES, now) if name and name != st.session_state.corpus)]


def _choice(grid: list[float]) -> LowRank:
    """Fields for the shares of dimensions and keys."""
    state, row = st.session_state, st.container(horizontal=True, vertical_alignment="bottom")
    fields = {
        "dims": (
            "Dimensions scored, d_f",
            "Share of the leading key directions that keys are scored in.",
        ),
        "top": ("Keys attended to, k_f", "Share of the visible keys that each token attends to, with exact scores."),
    }
    chosen = {}
    for name, (title, why) in fields.items():
        # Also those of a link, else the field would forget them before the grid is known.
        offered = {*_SHARES, *(f"{share:g}" for share in grid), state.get(name) or _linked(name) or "0.25"}
        options = sorted(offered, key=float, reverse=True)
        if st.query_params.get(name) not in options:
            state.setdefault(name, "0.25")  # not the field's own default, which must not be there where a click writes it
        chosen[name] = row.selectbox(title, options, key=name, width=210, help=why, **KEPT)
    row.number_input(
        "Context length (tokens)", 1, 100_000_000, 4096, key="context", width=200, **KEPT,
        help="Tokens in the cache when the next one is decoded. A sliding window sees fewer of them and saves less.",
    )  # fmt: skip
    whole = row.toggle(
        "Count as Loki’s code", key="whole", **KEPT,
        help="Loki’s code lets every token attend to k_f of the whole text’s keys, so that the first tokens attend to all they "
        "see and the damage looks far smaller. Off: k_f of the keys that a token sees, as decoding does.",
    )  # fmt: skip
    return LowRank(**{name: float(share) for name, share in chosen.items()}, whole=bool(whole))


def _linked(name: str) -> str:
    """The share that a link names; empty: none."""
    given = st.query_params.get(name, "")
    with suppress(ValueError):
        return given if 0 < float(given) <= 1 else ""
    return ""


def _savings(result: KeyRankResult, anatomy: Anatomy, chosen: LowRank, found: LowRankResult | None) -> None:
    """What it would save, as counted, and what it costs, as measured."""
    shape = ([each] * result.layers for each in (result.query_heads, result.heads, result.head_dim))
    cost = decode_cost(chosen.dims, chosen.top, int(st.session_state.context or 1), *shape, ITEMSIZE[anatomy.dtype])
    st.markdown("**Estimated savings**")
    _formula(chosen, result)
    if anatomy.sliding:
        st.caption("Layers with a sliding window see fewer tokens than this, and read and save less.")
    low, high = (f"{amount / 1e6:,.3g}" for amount in (cost.least_bytes, cost.bytes))
    cells = [
        ("Read from the cache", f"{low if low == high else f'{low}–{high}'} MB", f"{cost.bytes / cost.dense_bytes - 1:+.0%}",
         f"Per decoded token, all layers; dense: {cost.dense_bytes / 1e6:,.3g} MB. Lower bound: query heads that share a "
         "key head choose the same keys. Upper bound, and the change: each chooses its own."),
        ("Multiply-adds", style.count(cost.products), f"{cost.products / cost.dense_products - 1:+.0%}",
         f"Of attention, per decoded token, all layers; dense: {style.count(cost.dense_products)}. With the rotation into the "
         "basis; without the search for the best keys."),
    ]  # fmt: skip
    if found is not None and chosen.dims in found.dims and chosen.top in found.top:
        i, j = found.dims.index(chosen.dims), found.top.index(chosen.top)
        cells += [
            ("Perplexity, measured", style.number(found.perplexity[i, j], 4),
             style.change(found.perplexity[i, j], found.dense_perplexity),
             f"Dense: {style.number(found.dense_perplexity, 4)}."),
            ("KL, measured", f"{found.kl[i, j]:.4f}", None, "KL(dense‖low rank), nats per token."),
        ]  # fmt: skip
    shell.metrics(cells)


def _formula(chosen: LowRank, result: KeyRankResult) -> None:
    """What is read of the cache for long contexts, and the paper's formula where it says something else."""
    group = result.query_heads // result.heads
    ratio = read_ratio(chosen.dims, chosen.top, [result.query_heads], [result.heads], [result.head_dim])
    st.latex(
        rf"\text{{cost}} \approx \frac{{d_f}}{{2}} + \min(1, g\,k_f) = "
        rf"\frac{{{chosen.dims:g}}}{{2}} + \min(1, {group} \cdot {chosen.top:g}) = {ratio:.4g}"
    )
    text = (
        "Read from the cache for each decoded token, as a share of what dense attention reads, for long contexts: d_f of each "
        "key to choose by, then the chosen keys and values. Counted; nothing is timed."
    )
    if group > 1:
        text += (
            f" g = {group} query heads share a key head, and each may choose different keys. **The paper’s formula** is for "
            f"one query head per key head: d_f/2 + k_f = {paper_ratio(chosen.dims, chosen.top):.4g}. Here that is the share "
            "of multiply-adds, and of what is read if all heads of a group choose the same keys."
        )
    st.caption(text)


def _damage(found: LowRankResult, chosen: LowRank) -> None:
    """The grid, the other ways to choose keys, and the layers of the chosen cell."""
    left, right = shell.beside("grid")
    left.markdown("**Perplexity over the grid**")
    shell.clickable(
        charts.grid(found, (chosen.dims, chosen.top)), "grid", "Perplexity by shares of dimensions and keys", left,
        lambda: pick("grid", dims=str, top=str),
    )  # fmt: skip
    left.caption(f"Dense: {style.number(found.dense_perplexity, 4)}. Click a cell to choose it.")
    on_grid = chosen.dims in found.dims and chosen.top in found.top
    if chosen.dims in found.dims and found.baseline_perplexity:
        right.markdown("**Other ways to choose keys**")
        shell.chart(charts.baselines(found, chosen.dims), "baselines", "Perplexity of baselines", right)
    if not on_grid:
        st.info("The shares chosen above are not on the measured grid. Choose one of its cells, or add them to the grid.")
        return
    st.markdown(
        f"**By layer: {charts.percent(chosen.top)} of the keys, chosen in {charts.percent(chosen.dims)} of the dimensions**"
    )
    shell.chart(charts.by_layer(found, chosen.dims, chosen.top), "by_layer", "Recall and attention captured")
    st.caption("Measured inside the dense model, layer by layer. No choice captures more attention than the best keys do.")


def draw(result: KeyRankResult, anatomy: Anatomy) -> None:
    """Choose, count, measure, and take it to the drop lab; a family whose attention cannot be replaced is told at once."""
    if anatomy.attention_stays:
        st.info(anatomy.attention_stays)
        return
    params, wrong = _grid()
    above, below = st.container(), st.container()  # what is chosen stands above what is asked, and is drawn after it
    with below:
        answer = _asked(params, wrong)
    found = answer.result if answer else None
    with above:
        chosen = _chosen(result, anatomy, found)
    if found is not None:
        _damage(found, chosen)
        st.caption(f"Directions from {_source(found)}, {plural(found.calibration_tokens, 'token')}.")
        shell.provenance(answer)


def _asked(params: dict[str, str], wrong: str) -> Answer | None:
    """What the grid did, if it is known; else a button, or what is wrong with the fields."""
    if wrong:
        shell.refused(wrong)
        return None
    return shell.ask(
        "low_rank_attention", "Measure the grid",
        "Replaces attention with this rule for every cell of the grid, and measures perplexity, KL and which keys it finds.",
        params=params,
    )  # fmt: skip


def _chosen(result: KeyRankResult, anatomy: Anatomy, found: LowRankResult | None) -> LowRank:
    """The shares chosen, what they save, and the way into the plan."""
    chosen = _choice([*found.dims, *found.top] if found else [])
    _savings(result, anatomy, chosen, found)
    plan = shell.current_plan() | Plan((Keys(chosen),))
    row = st.container(horizontal=True, vertical_alignment="center")
    row.button(
        "Add to the plan", key="take_keys", on_click=shell.set_plan, args=(plan,), disabled=chosen.top == 1,
        help=f"Adds this to the plan, replacing any other choice of keys: {plan}.",
    )  # fmt: skip
    if chosen.top < 1 and shell.current_plan() == plan:
        # A link and not st.switch_page, which cannot leave a page whose fields are bound to the address.
        row.page_link("pages/drop_lab.py", label="Try it in the Drop lab", icon=":material/content_cut:")
    return chosen


def _source(found: LowRankResult) -> str:
    """Where the directions come from; the result does not say what the texts were called, only which windows they are."""
    name = st.session_state.get("basis") or st.session_state.corpus
    return f"{shell.plain(label(name))}, {found.calibrated_on}"


def _grid() -> tuple[dict[str, str], str]:
    """Fields for what is measured; the parameters of the question, and what is wrong with them."""
    with st.expander("Grid and calibration"):
        row = st.container(horizontal=True, vertical_alignment="bottom")
        dims = row.text_input(
            "Dimensions to try", "0.5,0.25,0.125", key="grid_dims", width=200, help="Shares above 0 and up to 1.", **KEPT
        )
        top = row.text_input(
            "Keys to try", "0.5,0.25,0.125", key="grid_top", width=200, help="Same format as dimensions.", **KEPT
        )
        basis = row.selectbox(
            "Directions from", texts(st.session_state.get("basis")), key="basis", accept_new_options=True, width=300, **KEPT,
            format_func=lambda name: name or "the windows that follow the measured ones",
            help="The text whose keys give the directions; never the measured tokens themselves.",
        )  # fmt: skip
    try:
        shares(dims, "dimensions")
        shares(top, "keys")
    except Refusal as refusal:
        return {}, str(refusal)
    return {"dims": dims, "top": top, "calibrate": basis or "", "whole": shell.field("whole", False)}, ""
