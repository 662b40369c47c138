"""From a budget to a checkpoint: search plans, compare them, run tasks, export."""

import streamlit as st

from pages import shell
from pages.decision import export, plans, search, tasks
from plans.operation import Shape

shell.menu_first()

anatomy = shell.anatomy_or_stop()
plan = shell.current_plan(Shape(anatomy.layers))
parts = {"Search": search, "Plans": plans, "Tasks": tasks, "Export": export}
for tab, part in zip(st.tabs(list(parts), key="decide", bind="query-params"), parts.values(), strict=True):
    with tab:
        part.draw(anatomy, plan)
