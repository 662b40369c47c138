"""The plan as a checkpoint on the server's disk: which formats can say it, where each runs, and what was exported."""

import streamlit as st

from models.anatomy import Anatomy
from pages import shell
from pages.shell import KEPT
from plans.export.export import Order, understood
from plans.export.files.place import Found, destination, exports
from plans.export.format import Format
from plans.export.registry import FORMATS, format_named
from plans.plan import Plan
from refusal import Refusal
from settings import settings


def draw(anatomy: Anatomy, plan: Plan) -> None:
    """The order, its job, and the exports that are there."""
    if settings().demo:
        st.info("This is a demo and does not write checkpoints. Run PruneScope yourself to export a plan.")
        return
    above = st.container()
    if plan:
        try:
            _order(plan)
        except Refusal as refusal:
            shell.refused(refusal)
    else:
        st.info("The plan is empty, so there is nothing to export. Pick a plan from the search or the table.")
    try:
        _there(above)
    except Refusal as refusal:
        shell.refused(refusal)


def _order(plan: Plan) -> None:
    ref, text = shell.model_ref(), shell.corpus_ref()
    checkpoint = understood(Order(ref, plan, "", "", text))
    can = {name: not form.cannot(checkpoint) for name, form in FORMATS.items()}
    name = st.selectbox(
        "Format", list(FORMATS), next((i for i, name in enumerate(FORMATS) if can[name]), 0), key="export_format",
        format_func=lambda name: f"{name}: {FORMATS[name].sentence}" if can[name] else f"{name}: cannot express this plan",
    )  # fmt: skip
    form = FORMATS[name]
    why = form.cannot(checkpoint)
    if why:
        st.warning(shell.plain(f"{why} {_others(can)}"))
        return
    _runtimes(form)
    row = st.container(horizontal=True, vertical_alignment="bottom")
    folder = row.text_input(
        "Folder", key="export_folder", placeholder="a name, such as small", width=320, **KEPT,
        help="Created inside this server's export folder (PRUNESCOPE_EXPORTS).",
    )  # fmt: skip
    replace = row.checkbox("Replace an earlier export", key="export_replace")
    order = Order(ref, plan, name, (folder or "").strip(), text, replace)
    row.button(
        "Export", key="export", type="primary", on_click=_submit, args=(order,), disabled=not order.folder,
        help="Writes the checkpoint, reads it back in a fresh process, and compares it with the pruned model.",
    )  # fmt: skip
    if problem := st.session_state.pop("export_error", None):
        shell.refused(problem)
    _job(order)


def _others(can: dict[str, bool]) -> str:
    names = [name for name, fits in can.items() if fits]
    return f"Formats that can express it: {', '.join(names)}." if names else "No available format can express this plan."


def _runtimes(form: Format) -> None:
    st.caption(f"{form.sentence} Supports {form.expresses}.")
    shell.table(
        [{"runs in": each.name, "": "yes" if each.runs else "no", "how, or why not": each.how} for each in form.runtimes],
        key="export_runtimes", alt="Where this format runs",
    )  # fmt: skip


def _submit(order: Order) -> None:
    """Callback: refuse what can be refused at once, else begin."""
    try:
        destination(order.folder, order.overwrite)
        shell.workbench().export(order, shell.person().name)
    except (Refusal, shell.StoreError) as refusal:
        st.session_state.export_error = str(refusal)


def _job(order: Order) -> None:
    """How far exactly this export is, or how it ended."""
    job, done = shell.workbench().exporting(order)
    if job is None:
        return
    if job.active:
        _watch(order)
    elif job.state == "failed":
        shell.refused(job.error)
    elif job.state == "cancelled":
        st.info("Cancelled; nothing was exported.")
    elif done:
        st.success(shell.plain(str(done)))


@st.fragment(run_every=shell.POLL)
def _watch(order: Order) -> None:
    job, _ = shell.workbench().exporting(order)
    if job is None or not job.active:
        st.rerun()
    left, right = st.columns([5, 1], vertical_alignment="center")
    shell.draw_progress(job, left)
    shell.cancel_button(job, right, "export_cancel")


def _there(above) -> None:
    """What lies in the export folder, and where it runs; as long as nothing does, what this is for stands above."""
    found = exports()
    st.markdown("**Exports on this server**")
    if not found:
        st.caption("None yet.")
        with above:
            shell.introduce("export")
        return
    here = shell.model_ref().name
    shell.table(
        [_row(each) for each in found], key="exports", alt="Exports on this server", selection_mode="single-row",
        on_select=shell.row_plan("exports", [each.plan if each.model == here else None for each in found]),
    )  # fmt: skip
    st.caption("Select a row to make its plan the plan, if it was made for the model in the sidebar.")


def _row(each: Found) -> dict:
    try:
        runs = ", ".join(runtime.name for runtime in format_named(each.form).runtimes if runtime.runs)
    except Refusal:
        runs = ""
    return {
        "folder": str(each.folder), "model": each.model, "plan": each.plan, "format": each.form, "size (MB)": each.bytes / 1e6,
        "runs in": runs, "difference (nats)": each.difference, "exported": each.created,
    }  # fmt: skip
