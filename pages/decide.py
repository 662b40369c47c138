"""From a budget to a checkpoint: search plans, compare them, time them, run tasks, export."""

import streamlit as st

from pages import shell
from pages.decision import export, plans, search, tasks
from pages.lab import speed
from plans.operation import Shape

shell.menu_first()

_FIELDS = (
    *(f"search_{name}" for name in ("share", "points", "seed", "again", "generations", "offspring", "draws", "continuation")),
    "task_limit", "task_fewshot",
)  # fmt: skip
asked = shell.linked(_FIELDS)
anatomy = shell.anatomy_or_stop("decide")
plan = shell.current_plan(Shape(anatomy.layers))
parts = {
    "Search": search.draw,
    "Plans": plans.draw,
    "Speed": lambda _, plan: speed.draw(plan),
    "Tasks": tasks.draw,
    "Export": export.draw,
}
tabs = dict(zip(parts, st.tabs(list(parts), key="decide", bind="query-params"), strict=True))
for name, tab in tabs.items():
    if tab.open:  # the others are drawn when they are opened
        with tab:
            parts[name](anatomy, plan)
if plan:
    shell.next_page("decide")
shell.warn_of_link(asked)
