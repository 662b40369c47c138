"""From a budget to a checkpoint: search plans, compare them, time them, run tasks, export."""

from pages import shell
from pages.decision import export, plans, search, tasks
from pages.lab import speed
from plans.operation import Shape

shell.menu_first()

anatomy = shell.anatomy_or_stop("decide")
plan = shell.current_plan(Shape(anatomy.layers))
shell.tabs(
    "decide",
    {
        "Search": lambda: search.draw(anatomy, plan),
        "Plans": lambda: plans.draw(anatomy, plan),
        "Speed": lambda: speed.draw(plan),
        "Tasks": lambda: tasks.draw(anatomy, plan),
        "Export": lambda: export.draw(anatomy, plan),
    },
)
if plan:
    shell.next_page("decide")
