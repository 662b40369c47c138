"""Tasks of lm-evaluation-harness on the plan, item by item against the dense model."""

import streamlit as st

from charts.tasks import evaluate as charts
from models.anatomy import Anatomy
from pages import shell
from pages.shell import KEPT
from plans.plan import Plan
from probes.tasks.evaluate import BUILTIN, EvaluateParams, EvaluateResult
from refusal import Refusal

FIELDS = {"tasks": BUILTIN, "limit": 0, "fewshot": -1, "chat": False}


def _given() -> dict:
    """What the fields say, or their defaults before they were drawn."""
    return {name: shell.field(f"task_{name}", default) for name, default in FIELDS.items()}


def params() -> dict | None:
    """Parameters of the question; None: the fields make none."""
    try:
        EvaluateParams(**_given())
    except Refusal:
        return None
    return _given()


def draw(anatomy: Anatomy, plan: Plan) -> None:
    """Fields, the question, and a row for each metric."""
    row = st.container(horizontal=True, vertical_alignment="bottom")
    row.text_input(
        "Tasks", BUILTIN, key="task_tasks", **KEPT,
        help="Comma-separated task names from lm-evaluation-harness, such as `hellaswag,arc_easy`. Their data come from the "
        f"hub or its cache on this machine; `{BUILTIN}` is included and needs no network.",
    )  # fmt: skip
    row.number_input("Items per task", 0, 10**6, 0, key="task_limit", width=130, help="0: all.", **KEPT)
    row.number_input("Few-shot examples", -1, 100, -1, key="task_fewshot", width=170, help="-1: the task's default.", **KEPT)
    st.toggle("Use the chat template", key="task_chat", **KEPT)
    try:
        EvaluateParams(**_given())
    except Refusal as refusal:
        shell.refused(refusal)
        return
    if not plan:
        shell.introduce("tasks")
        st.info("The plan is empty. Drop something, or pick a plan, to compare it with the dense model.")
        return
    answer = shell.ask(
        "evaluate", "Run the tasks", "Runs the dense model once and keeps its answers, then runs the plan.",
        plan=str(plan), params=_given(), page="tasks",
    )  # fmt: skip
    if answer is not None:
        _shown(answer.result)
        shell.provenance(answer)


def _shown(result: EvaluateResult) -> None:
    shell.chart(charts.differences(result), "task_differences", "How much better or worse the pruned model is at each task")
    four = st.column_config.NumberColumn(format="%.4f")
    shell.table(
        charts.table(result), key="task_table", alt="Scores of both models",
        column_config={"dense": four, "pruned": four, "difference": four, "from": four, "to": four,
                       "McNemar p": st.column_config.NumberColumn(format="%.3f")},
    )  # fmt: skip
    st.caption(
        "Difference: pruned minus dense on the same items, with its 95 % bootstrap interval. Won and lost: items that only the "
        f"pruned or only the dense model gets right. Judged by lm-evaluation-harness {result.harness}."
    )
