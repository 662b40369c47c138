"""Choose and load a model and a text; see what the model is made of."""

import streamlit as st

from charts import style
from charts.anatomy import sizes
from models.loading.load import estimate
from pages import shell
from refusal import Refusal
from texts.corpus import keep_text

shell.menu_first()


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
        st.session_state.estimate = (found.fits, f"{shell.model_ref().name}: {found}")
    except Refusal as refusal:
        st.session_state.estimate = (False, str(refusal))


bench = shell.workbench()
subject = bench.subject
if subject is None:
    st.markdown(
        "See which layers of a language model are redundant, drop some, and read the dense and the pruned model "
        "answering side by side. Name a model on the left, or begin with the one that is bundled: "
        "**SmolLM2-135M-Instruct**, 30 layers, no network needed."
    )
    left, right = st.columns(2)
    busy = bench.loading is not None and not bench.loading.over.is_set()
    left.button(
        f"Load {st.session_state.model}", key="load_main", type="primary", width="stretch",
        on_click=shell.load_clicked, disabled=busy,
    )  # fmt: skip
    right.button("How much memory would it take?", key="estimate_button", on_click=_estimate, width="stretch")
else:
    st.markdown(f"**{subject.ref.name}** · {subject.family.name} · {subject.layers} layers · width {subject.width}")
    st.button("How much memory would the named model take?", key="estimate_button", on_click=_estimate)
if verdict := st.session_state.pop("estimate", None):
    (st.success if verdict[0] else st.error)(verdict[1])

if subject is not None and bench.anatomy is not None:
    dense, plan = bench.anatomy, shell.current_plan(subject.layers)
    shell.metrics(
        [
            ("Parameters", style.count(dense.parameters), None, "Each weight once, shared embeddings too."),
            ("Weights", f"{dense.bytes / 1e9:.2f} GB", None, "Parameters times bytes of each."),
            ("KV cache per token", f"{dense.cache_bytes / 1024:.1f} KiB", None, "Keys and values that a token adds."),
            ("Multiply-adds per token", style.count(dense.multiply_adds), None, "Of the weights; attention's come on top."),
        ]
    )
    rows = [
        {"layer": i, **{kind: sum(p.parameters for p in dense.parts if p.layer == i and p.kind == kind) for kind in
                        ("attention", "mlp")},
         "norms": sum(p.parameters for p in dense.parts if p.layer == i and p.kind == "shared")}
        for i in range(subject.layers)
    ]  # fmt: skip
    st.plotly_chart(sizes(rows, plan), key="sizes", alt="Parameters per layer", config=shell.CHART)
    with st.expander("Every sublayer as a table"):
        st.dataframe(
            [
                {"layer": p.layer, "part": p.kind, "parameters": p.parameters, "bytes": p.bytes,
                 "multiply-adds per token": p.multiply_adds, "KV bytes per token": p.cache_bytes}
                for p in dense.parts if p.parameters or p.cache_bytes
            ],
            hide_index=True, key="parts", alt="Size and work of every sublayer",
        )  # fmt: skip

with st.expander("Own text as the corpus"):
    st.text_area("Paste text", key="own_text", height=160, placeholder="At least one window of it.")
    st.file_uploader("or upload a UTF-8 .txt file", type=["txt"], key="own_file")
    st.button("Use this text", key="own_use", on_click=_keep)
    if error := st.session_state.pop("own_error", None):
        st.error(error)
