"""A plan under a budget: search, look at the front, click a point, and it is the plan."""

import streamlit as st

from charts import style
from charts.search import search as charts
from measures.significance.intervals import bootstrap
from measures.significance.paired import LEAST, verdict
from models.anatomy import Anatomy
from pages import shell
from pages.decision import stability
from pages.shell.begin import base_plan
from plans.drops import LETTERS
from plans.plan import Plan, parse
from probes.answer import Answer
from probes.search.budget import UNITS, budget
from probes.search.params import STRATEGIES, SearchParams
from probes.search.search import SearchResult
from probes.search.so_far import so_far
from refusal import Refusal, plural


def _fields() -> dict | None:
    """Parameters of the search; None: they make no question, which is told here."""
    first = st.container(horizontal=True, vertical_alignment="bottom")
    first.selectbox("Budget unit", list(UNITS), key="search_unit", width=180, **shell.KEPT,
                    help="; ".join(f"{unit}: {words}" for unit, words in UNITS.items()))  # fmt: skip
    first.number_input("Save at most, %", 1.0, 95.0, 25.0, 2.5, key="search_share", width=140, **shell.KEPT)
    first.number_input(
        "Steps",
        1,
        20,
        4,
        key="search_points",
        width=110,
        help="Number of budgets, evenly spaced up to that share.",
        **shell.KEPT,
    )
    first.multiselect("May be dropped", list(LETTERS), ["attention", "mlp"], key="search_parts", width=260,
                      format_func=lambda part: {"mlp": "MLP"}.get(part, part))  # fmt: skip
    _effort_fields()
    state = st.session_state
    given = {name: state[f"search_{name}"] for name in ("unit", "points", "again", "generations", "offspring", "draws")}
    given |= {name: state[f"search_{name}"] for name in ("continuation", "seed")}
    given |= {"share": state.search_share / 100, "parts": ",".join(state.search_parts)}
    given["strategies"] = ",".join(state.search_strategies)
    try:
        SearchParams(**given)
    except Refusal as refusal:
        shell.refused(refusal)
        return None
    return given


def _effort_fields() -> None:
    with st.expander("Strategies and effort"):
        st.multiselect("Strategies", STRATEGIES, STRATEGIES, key="search_strategies", persist_state="session",
                       format_func=charts.NAME.__getitem__)  # fmt: skip
        row = st.container(horizontal=True, vertical_alignment="bottom")
        row.number_input("Re-measured", 0, 1000, 16, key="search_again", width=140, **shell.KEPT,
                         help="How many of the most promising drops greedy re-measures per round; 0: all.")  # fmt: skip
        row.number_input(
            "Generations", 0, 1000, 10, key="search_generations", width=120, help="Rounds of swaps per budget.", **shell.KEPT
        )
        row.number_input(
            "Offspring", 1, 1000, 16, key="search_offspring", width=120, help="Candidates per generation.", **shell.KEPT
        )
        row.number_input(
            "Random plans", 1, 1000, 8, key="search_draws", width=120, help="Random plans per budget.", **shell.KEPT
        )
        row.number_input("Continuation", 0, 4096, 0, key="search_continuation", width=130, **shell.KEPT,
                         help="Tokens that the dense model generates after each window, for plans to be "
                              "measured on as well; 0: off.")  # fmt: skip
        row.number_input("Seed", 0, 2**31 - 1, 0, key="search_seed", width=110, **shell.KEPT)


def _budget(result: SearchResult) -> None:
    """The slider through the front: the plan that was best on the windows it was chosen on, for each budget."""
    shares = sorted({float(share) for share in result.shares})
    share = shares[0]
    if len(shares) > 1:
        share = st.select_slider("Budget", shares, shares[-1], key="search_budget", format_func="{:.1%}".format)
    of_share = [i for i in range(len(result.plans)) if result.shares[i] == share]
    best = min(of_share, key=lambda i: result.chosen_kl[i])
    row = st.container(horizontal=True, vertical_alignment="center")
    row.markdown(
        f"**`{result.plans[best]}`** saves {result.saved[best]:.1%} of all {UNITS[result.unit]}. KL "
        f"{style.number(result.kl[best])} nats per token (95 %: {style.number(result.kl_low[best])} to "
        f"{style.number(result.kl_high[best])}) on held-out windows. {_rivals(result, of_share, best)}",
        help=shell.about("saved", "KL", "from"),
    )
    row.button("Use this plan", key="search_use", type="primary", width=180, help="Replaces the plan in the sidebar.",
               on_click=shell.set_plan, args=(result.plans[best],))  # fmt: skip
    if result.timed:
        st.caption(f"Milliseconds of the sublayers: {result.timed}.")


def _rivals(result: SearchResult, places: list[int], best: int) -> str:
    """Which plans of the same budget cannot be told apart from the best one on this text."""
    alike, seen = [], {result.plans[best]}
    for i in places:
        if result.plans[i] in seen or result.strategies[i] == "random":
            continue
        seen.add(result.plans[i])
        apart = result.window_kl[i] - result.window_kl[best]
        if not verdict(float(apart.mean()), *map(float, bootstrap(apart)), len(apart)):
            alike.append(charts.NAME[result.strategies[i]])
    if len(seen) == 1:
        return ""
    if result.judged_windows < LEAST:
        on = plural(result.judged_windows, "held-out window")
        return f"With {on} no plan can be told from another: measure on {2 * LEAST - 1} windows or more."
    if not alike:
        return "It differs significantly from every other choice."
    return (
        f"On {plural(result.judged_windows, 'window')} it does not differ significantly from the choice of: {'; '.join(alike)}."
    )


def _table(result: SearchResult) -> None:
    rows = charts.table(result)
    four = st.column_config.NumberColumn(format="%.4f")
    percent = st.column_config.NumberColumn(format="percent")
    shell.table(
        rows, key="found_table", alt="Plans found", selection_mode="single-row",
        on_select=shell.row_plan("found_table", [row["plan"] for row in rows]),
        column_config={"KL": four, "from": four, "to": four, "KL when chosen": four, "KL, continued": four, "saved": percent,
                       "same top token": percent, "perplexity": st.column_config.NumberColumn(format="%.5g")},
    )  # fmt: skip
    st.caption("KL in nats per token with its 95 % interval, on held-out windows. Select a row to make it the plan.")


def _effort(result: SearchResult) -> None:
    """What each strategy needed, and how far it was fitted to the windows it chose on."""
    rows = []
    for name, passes in result.spent.items():
        places = [i for i, each in enumerate(result.strategies) if each == name]
        rows.append({
            "strategy": charts.NAME[name], "passes": passes, "mean KL when chosen": float(result.chosen_kl[places].mean()),
            "mean KL when judged": float(result.kl[places].mean()),
        })  # fmt: skip
    four = st.column_config.NumberColumn(format="%.4f")
    shell.table(rows, key="effort", alt="What each strategy costs", column_config={
        "passes": st.column_config.NumberColumn("forward passes", format="%.0f"),
        "mean KL when chosen": four, "mean KL when judged": four,
    })  # fmt: skip
    st.caption(
        f"Forward passes over one window of {plural(result.length, 'token')}, including those a strategy builds on. Stored "
        f"measurements are reused; on this text they cover {plural(result.tried, 'plan')}."
    )


def draw(anatomy: Anatomy, plan: Plan) -> None:
    """The fields, the question, and its answer."""
    given = _fields()
    why = "Every plan starts from this one, which can only hold drops. Clicking a point changes the plan in the sidebar."
    base = base_plan("search", why)
    if given is None or base is None:
        return
    answer = shell.ask(
        "search",
        "Search",
        "Selects plans on the first half of the text's windows and measures them on the second. Takes minutes to hours; "
        "measurements are kept, and an interrupted search resumes.",
        plan=base,
        params=given,
        page="decide",
    )
    if answer is not None:
        _answer(answer, plan)
    else:
        every = 5.0 if shell.asking("search", base, given) else None
        st.fragment(_so_far, run_every=every)(anatomy, base, given)
    with st.expander("Would another calibration text select different drops?", expanded=False):
        stability.draw(base, given)


def _so_far(anatomy: Anatomy, base: str, given: dict) -> None:
    """What was measured up to now, while the search runs and after it was stopped."""
    unit = "sublayers" if given["unit"] == "milliseconds" else given["unit"]  # times are known when it is through
    limits = budget(unit, anatomy, parse(base), SearchParams(**given).kinds)
    found = so_far(shell.remembered("search", base, given), limits, shell.corpus_ref().windows // 2)
    if st.session_state.pop("partial_picked", False):
        st.rerun()  # the plan in the sidebar is drawn outside this part of the page
    if found is None:
        return
    shell.clickable(charts.partial(found, UNITS[unit]), "partial", "Plans measured so far", on_select=_partial_picked)
    st.caption(
        f"{plural(found.tried, 'plan')} measured so far, {len(found.plans):,} of them on every selection window. These "
        "numbers are optimistic, because plans are selected on the same windows; final numbers come from held-out windows."
    )


def _partial_picked() -> None:
    found = shell.picked("partial")
    if found:
        shell.set_plan(found[0])
        st.session_state.partial_picked = True


def _answer(answer: Answer, plan: Plan) -> None:
    result: SearchResult = answer.result
    shell.provenance(answer)
    _budget(result)
    shell.tabs(
        "search_view",
        {"Front": lambda: _front(result, plan), "Plans found": lambda: _table(result), "Effort": lambda: _effort(result)},
    )


def _front(result: SearchResult, plan: Plan) -> None:
    shell.clickable(
        charts.front(result, plan, UNITS[result.unit]),
        "front",
        "KL against what is saved",
        on_select=lambda: shell.point_plan("front"),
    )
    st.caption("Bars are 95 % intervals over windows. Click a point to make it the plan; the dotted line is the front.")
