"""What every page shares; pages say ``from pages import shell`` and use what is named here."""

from pages.shell.question import (
    POLL,
    anatomy_or_stop,
    answered,
    ask,
    ask_each,
    cost,
    draw_progress,
    known,
    load_clicked,
    tell_load_error,
    tried,
)
from pages.shell.skeleton import CHART, age, beside, chart, clickable, metrics, provenance
from pages.shell.state import (
    KEPT,
    clicked,
    corpus_ref,
    current_plan,
    linked,
    menu_first,
    model_ref,
    picked,
    set_plan,
    toggle,
    warn_of_link,
)
from pages.shell.workbench import Live, workbench

__all__ = [
    "CHART", "KEPT", "POLL", "Live", "age", "anatomy_or_stop", "answered", "ask", "ask_each", "beside", "chart", "clickable",
    "clicked", "corpus_ref", "cost", "current_plan", "draw_progress", "known", "linked", "load_clicked", "menu_first",
    "metrics", "model_ref", "picked", "provenance", "set_plan", "tell_load_error", "toggle", "tried", "warn_of_link",
    "workbench",
]  # fmt: skip
