"""Choose and load a model and a text; see what the model is made of."""

import streamlit as st

from charts import style
from charts.anatomy import by_layer, sizes
from models.anatomy import Anatomy
from models.loading.load import estimate
from pages import shell
from plans.cost import shape_of
from plans.export.opened import missing
from plans.plan import EMPTY, Plan
from refusal import Refusal, plural
from settings import settings
from texts.corpus import keep_text

shell.menu_first()
_LARGEST = 20  # MB of a text of one's own, where the operator allows so much


def _keep() -> None:
    """Callback: keep the pasted or uploaded text and make it the corpus."""
    upload, text = st.session_state.own_file, st.session_state.own_text
    try:
        st.session_state.corpus = keep_text(upload.read().decode() if upload else text)
    except UnicodeDecodeError:
        st.session_state.own_error = "This file is not UTF-8 text. Save it as UTF-8 and upload it again."
    except Refusal as refusal:
        st.session_state.own_error = str(refusal)


def _estimate() -> None:
    """Callback: what the named model would take; fetches small files of a hub model, so a click asks for it."""
    try:
        found = estimate(shell.model_ref())
        st.session_state.estimate = (found.fits, f"{shell.model_ref().name} {found}.")
    except Refusal as refusal:
        st.session_state.estimate = (False, str(refusal))


def _welcome() -> None:
    """Before anything is known of the model in the URL."""
    shell.introduce("model")
    left, right = st.columns(2)
    job = shell.workbench().loading(shell.model_ref())
    loading = job is not None and job.active
    left.button(
        f"Load {shell.plain(st.session_state.model)}", key="load_main", type="primary", width="stretch",
        on_click=shell.load_clicked, disabled=loading,
    )  # fmt: skip
    right.button("Estimate memory", key="estimate_button", on_click=_estimate, width="stretch")
    if loading:
        shell.watch_loading("page")
    if not st.session_state.get("tour_hidden"):
        _invitation()


def _hide() -> None:
    """Callback: no invitation any more, in this tab."""
    st.session_state.tour_hidden = True


def _invitation() -> None:
    """To the tour; who hides it finds it in the menu."""
    with st.container(border=True, horizontal=True, vertical_alignment="center", key="invitation"):
        st.markdown("**New here?** A one-minute tour of answers that come with the app; nothing is loaded.", width="stretch")
        st.page_link("pages/tour.py", label="Take the tour", icon=":material/tour:")
        st.button("Hide", key="tour_hide", type="tertiary", on_click=_hide)


def _missing() -> Plan:
    """What the checkpoint lacks already, as a plan; empty where its files are not on this machine."""
    try:
        return missing(shell.model_ref())
    except Refusal:
        return EMPTY


def _parts(known: Anatomy) -> None:
    """What the model is made of, as numbers, a chart and a table."""
    st.markdown(
        f"**{shell.plain(st.session_state.model)}** · {known.family} · {plural(known.layers, 'layer')} · width {known.width}"
    )
    st.button("Estimate memory", key="estimate_button", on_click=_estimate)
    shell.metrics(
        [
            ("Parameters", style.count(known.parameters), None, "Shared embeddings count once."),
            ("Weights", f"{known.bytes / 1e9:.2f} GB", None, "Parameters times bytes per parameter."),
            ("KV cache per token", f"{known.cache_bytes / 1024:.1f} KiB", None, "Keys and values added by each token."),
            ("Multiply-adds per token", style.count(known.multiply_adds), None, "Excludes attention scores."),
        ]
    )
    if gaps := _missing():
        st.info(f"This checkpoint is already pruned: `{gaps}` {gaps.sentence(shape_of(known))}.")
    plan = shell.current_plan(shape_of(known)) | gaps
    shell.clickable(sizes(by_layer(known), plan), "sizes", "Parameters per layer")
    with st.expander("Every sublayer as a table"):
        shell.table(
            [
                {"layer": p.layer, "part": p.kind, "parameters": p.parameters, "bytes": p.bytes,
                 "multiply-adds per token": p.multiply_adds, "KV bytes per token": p.cache_bytes}
                for p in known.parts if p.parameters or p.cache_bytes
            ],
            key="parts", alt="Size and work of every sublayer",
        )  # fmt: skip


def _own_text() -> None:
    """Fields for a text of one's own; whoever has the page's link can read it."""
    with st.expander("Use your own text"):
        largest = min(_LARGEST, settings().upload)
        st.text_area("Paste text", key="own_text", height=160, placeholder="At least one window of text.")
        st.file_uploader("or upload a UTF-8 .txt file", type=["txt"], key="own_file", max_upload_size=largest)
        st.button("Use this text", key="own_use", on_click=_keep)
        st.caption("Anyone with a link to a page on your text can open it. Nobody else sees its name.")
        if error := st.session_state.pop("own_error", None):
            shell.refused(error)


try:
    known = shell.workbench().known.anatomy(shell.model_ref())
except shell.StoreError as error:
    known = None
    shell.refused(error)
if known is None:
    _welcome()
if verdict := st.session_state.pop("estimate", None):
    (st.success if verdict[0] else st.error)(shell.plain(verdict[1]))
if known is not None:
    _parts(known)
    shell.next_page("model")

if settings().demo:
    st.caption("This is a demo with the bundled model and does not accept texts of your own.")
else:
    _own_text()
