"""What pages are built from: charts, rows of numbers, and a line on how an answer came about."""

import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

from charts import saved, style
from pages.shell.state import clicked
from pages.shell.words import plain
from plans.plan import parse
from probes.answer import Answer
from probes.glossary import explained
from refusal import plural

CHART = {"displaylogo": False, "scrollZoom": False, "modeBarButtonsToRemove": ["select2d", "lasso2d"]}
_CAMERA = ("PNG", "SVG")
# Two charts stand beside each other as long as both are wide enough to read.
_BESIDE = "<style>[class*=st-key-beside] [data-testid=stColumn] {min-width: 22rem}</style>"


def beside(name: str, spec: int | list[float] = 2) -> list:
    """Columns that stand below each other where the window is narrow."""
    st.html(_BESIDE)
    return st.container(key=f"beside_{name}").columns(spec)


def tabs(key: str, parts: dict[str, Callable[[], object]]) -> None:
    """Tabs by name, of which only the open one is drawn: charts that nobody sees cost as much as the others.

    Which one is open is part of the link, as ``key``.
    """
    for tab, draw in zip(st.tabs(list(parts), key=key, bind="query-params"), parts.values(), strict=True):
        if tab.open:
            with tab:
                draw()


def chart(figure, name: str, alt: str, place=st) -> None:
    """A chart to look at, below a sentence on what it shows, and what can be saved of it."""
    _drawn(figure, name, alt, place)


def clickable(figure, name: str, alt: str, place=st, on_select: Callable[[], None] | None = None) -> None:
    """A chart whose points can be clicked; by default a click toggles the item of a plan that a point carries."""
    place = place.container(key=f"click_{name}")  # by which look.css knows it
    _drawn(figure, name, alt, place, on_select=on_select or (lambda: clicked(name)), selection_mode="points")


def picture(figure, name: str, alt: str, place=st) -> None:
    """A chart that only says what one would see here: nothing to click, to hover over or to save."""
    place.plotly_chart(figure, key=name, alt=alt, config={"staticPlot": True})


def _drawn(figure, name: str, alt: str, place, **select) -> None:
    """The one way to a chart of an answer."""
    box = place.container(key=f"chart_{name}", gap="xxsmall")
    if said := style.finding(figure):
        box.markdown(f"**{plain(said)}**")
    kind = st.session_state.get(f"{name}_camera") or _CAMERA[0]
    camera = {"toImageButtonOptions": {"format": kind.lower(), "filename": name}}
    width = style.widest(figure) or "stretch"
    box.plotly_chart(figure, key=name, alt=alt, width=width, config=CHART | camera, **select)
    with box.popover("Save", type="tertiary", icon=":material/download:"):
        # Made when they are clicked: the HTML holds all of plotly.
        st.download_button(
            "Numbers as CSV", lambda: saved.csv(figure), f"{name}.csv", "text/csv", key=f"{name}_csv", on_click="ignore",
            width="stretch",
        )  # fmt: skip
        st.download_button(
            "Chart as HTML", lambda: saved.document(figure, alt), f"{name}.html", "text/html", key=f"{name}_html",
            on_click="ignore", width="stretch",
        )  # fmt: skip
        st.segmented_control(
            "The camera in the toolbar saves",
            _CAMERA,
            default=_CAMERA[0],
            key=f"{name}_camera",
            required=True,
            width="stretch",
        )


@cache
def component(name: str, html: str, folder: Path) -> Callable[..., Any]:
    """An element of our own, registered once in a process; its style and script travel inside the page: nothing is fetched."""
    style_sheet, script = ((folder / f"{name}.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    return st.components.v2.component(f"prunescope_{name}", html=html, css=style_sheet, js=script)


def metrics(cells: list[tuple[str, str, str | None, str]]) -> None:
    """A row of numbers, wrapped where the window is narrow; each is label, value, change (lower is better), explanation.

    What the glossary says of the number stands below the explanation.
    """
    row = st.container(horizontal=True)
    for label, value, change, why in cells:
        entry = explained(label)
        said = f"{why}\n\n{entry.help}" if entry else why
        row.metric(label, value, change, delta_color="inverse", help=said, border=True, width=208 if len(cells) < 5 else 172)


def about(*labels: str) -> str:
    """What numbers with such labels are, for the help of a line that has several of them."""
    return "\n\n".join(dict.fromkeys(explained(label).brief for label in labels))


def table(rows: Sequence[dict], *, key: str, alt: str, column_config: dict | None = None, place=st, **more: Any):
    """Rows as a table; the header of each column of numbers says what they are."""
    given = column_config or {}
    numbers = dict.fromkeys(name for row in rows for name, value in row.items() if _number(value))
    told = {name: _told(name, given.get(name)) for name in numbers}
    return place.dataframe(rows, hide_index=True, key=key, alt=alt, column_config=given | told, **more)


def _told(name: str, given: dict | None) -> dict:
    """The settings of a column, with what the glossary says of it."""
    column = given or st.column_config.Column()
    entry = explained(column.get("label") or name)
    return column | ({"help": "\n\n".join(filter(None, (column.get("help"), entry.help)))} if entry else {})


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def provenance(answer: Answer) -> None:
    """One quiet line on how an answer came about."""
    about = answer.about
    text = f"{plural(about['tokens'], 'token')} in {plural(about['windows'], 'window')} · " if about["tokens"] else ""
    if (learned := about.get("calibration")) and parse(about["question"]["plan"]).calibrates:
        fewer = f" of the {about['windows']} asked for" if learned["windows"] < about["windows"] else ""
        text += (
            f"calibrated on the {plural(learned['tokens'], 'token')} that follow, in "
            f"{plural(learned['windows'], 'window')}{fewer} · "
        )
    seconds = about["seconds"]
    st.caption(f"{text}{about['dtype']} on {about['device']} · computed in {seconds:.1f} s, {age(about['created'])}")


def age(created: float) -> str:
    """How long ago something was, in unix seconds."""
    minutes = (time.time() - created) / 60
    if minutes < 1:
        return "just now"
    if minutes < 120:
        return f"{minutes:.0f} min ago"
    return f"{minutes / 60:.0f} h ago" if minutes < 2880 else f"{minutes / 1440:.0f} d ago"
