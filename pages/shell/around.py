"""From a layer to what else is known of it: its heads, its drops, and the answer without it, or with it back."""

import streamlit as st

from pages.shell.state import current_plan
from plans.plan import parse


def around(page: str, layers: int, first: int = 0, layer: int | None = None) -> None:
    """A field for a layer, and links to the other pages about it; that to the page itself is left out.

    Parameters
    ----------
    layers : int
        Of the model.
    first : int
        The layer that the field begins with.
    layer : int, optional
        The layer, where the page has chosen one already; then there is no field.
    """
    row = st.container(horizontal=True, vertical_alignment="center" if layer is not None else "bottom", key=f"around_{page}")
    if layer is None:
        layer = row.number_input("About layer", 0, layers - 1, first, key=f"around_{page}_layer", width=120)
    else:
        row.markdown(f"About layer {layer}:", width="content")
    if page != "key_rank":
        row.page_link("pages/key_rank.py", label="Its heads", icon=":material/key:", query_params={"take_layer": str(layer)})
    if page != "scan":
        row.page_link("pages/scan.py", label="What dropping it costs", icon=":material/radar:")
    plan = current_plan()
    for letter, name in (("a", "attention"), ("m", "MLP"), ("b", "block")):
        part = parse(f"{letter}{layer}")
        gone = plan | part == plan
        row.page_link(
            "pages/drop_lab.py", label=f"The answer {f'with its {name} restored' if gone else f'without its {name}'}",
            icon=":material/content_cut:", query_params={"take_plan": str(plan - part if gone else plan | part)},
        )  # fmt: skip
