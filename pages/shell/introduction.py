"""What stands on a page before it has an answer, and at its end when it has one."""

from functools import cache
from itertools import islice
from typing import Any

import streamlit as st

from charts import anatomy, thumbnail
from charts.deviation import transitions
from charts.deviation import tried as tried_charts
from charts.generation import answers
from charts.keys import key_rank
from charts.redundancy import similarity
from charts.scan import drop_scan
from pages.flow.order import PARTS, PLACES
from pages.shell import skeleton
from plans.cost import kept
from plans.plan import EMPTY, parse
from probes.generation.apart import written
from probes.tour.shipped import ATTENTIONS, MLPS, shipped

_LETTERS = 12  # tokens of an answer that is shown small
_ROWS = 4  # of a table that is shown small
_DRAWN = ("plans",)  # parts with a picture
_WHERE = {"storage": " on the Similarity page"}  # where the button is, if not here


def introduce(page: str) -> None:
    """Which question a page, or a part of one, answers and what to press, beside a small picture of a real answer."""
    if page in PARTS and page not in _DRAWN:
        st.markdown(PARTS[page])
        return
    with st.container(border=True, key=f"introduction_{page}"):
        words, picture = skeleton.beside(f"introduction_{page}", [1.6, 1])
        words.markdown(PARTS.get(page) or f"{PLACES[page].asks}\n\nPress **{PLACES[page].press}**{_WHERE.get(page, '')}.")
        with picture:
            _picture(page)
        picture.caption("A real answer, on the bundled model.")


def next_page(page: str) -> None:
    """One line at the end of a page that has its answer: what comes next."""
    place = PLACES[page]
    after = PLACES[place.then]
    st.page_link(f"pages/{place.then}.py", label=f"Next: {after.title} – {place.why}", icon=f":material/{after.icon}:")


def _picture(page: str) -> None:
    """Of an answer that came with the app."""
    if page in ("drop_lab", "compare"):
        there = shipped()
        dense, pruned = (written(there[f"answers {name}"].result, 0)[:_LETTERS] for name in ("dense", "attention"))
        st.html(answers.answer(pruned, dense))
        return
    if page == "storage":
        took = {answer.about["question"]["probe"]: answer.about["seconds"] for answer in shipped().values()}
        rows = (f"| {probe} | {seconds:.1f} s |" for probe, seconds in islice(took.items(), _ROWS))
        st.markdown("\n".join(("| probe | computed in |", "|---|---|", *rows)))
        return
    skeleton.picture(_chart(page), f"thumbnail_{page}", f"What one sees here, small: {page.replace('_', ' ')}")


@cache
def _chart(page: str) -> Any:
    """It never changes, and to build it takes longer than the rest of a page without an answer."""
    there = {name: answer.result for name, answer in shipped().items()}
    figure = {
        "model": lambda: anatomy.sizes(anatomy.by_layer(there["anatomy"])),
        "similarity": lambda: similarity.importance(there["similarity"], EMPTY, kinds=("attention", "mlp")),
        "scan": lambda: drop_scan.damage(there["drop_scan"], EMPTY),
        "key_rank": lambda: key_rank.layers(there["key_rank"], there["key_rank"].level),
        "deviation": lambda: transitions.depth({ATTENTIONS: there["transitions"]}),
        "decide": lambda: tried_charts.tried(tried()),
        "plans": lambda: tried_charts.tried(tried()),
    }[page]()
    return thumbnail.small(figure)


def tried() -> list[dict]:
    """The two plans of the tour, as the table of plans has them."""
    there = {name: answer.result for name, answer in shipped().items()}
    plans = {"attention": ATTENTIONS, "mlp": MLPS}
    return [
        kept(there["anatomy"], there[f"cost {part}"], parse(plan))
        | {"plan": plan, "kl": found.kl, "perplexity": found.perplexity, "dense_perplexity": found.dense_perplexity}
        for part, plan in plans.items()
        for found in [there[f"fidelity {part}"]]
    ]  # fmt: skip
