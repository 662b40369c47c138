"""A person at the app, without a browser: opens a link, clicks, and waits for what runs instead of sleeping."""

import json
import re
from pathlib import Path
from typing import Any

from pandas.api.types import is_numeric_dtype
from streamlit.proto.WidgetStates_pb2 import WidgetStates
from streamlit.testing.v1 import AppTest

from cache.store import Entry
from models.anatomy import Anatomy
from models.subject import ModelRef, Subject
from pages import shell
from pages.shell.workbench import Workbench
from plans.plan import parse
from probes import PROBES
from probes.glossary import explained
from refusal import Refusal

APP = Path(__file__).parent.parent.parent / "app.py"
FILES = {each.stem: each for each in (APP.parent / "pages").glob("**/*.py")}
SECONDS = 60  # the longest that anything in these tests may take


class Visitor:
    """One session of the app. ``bench`` is what all sessions share.

    A corpus that is no option of its field is put into the session and not into the link: AppTest cannot tell the app of
    such a value, though a browser can.
    """

    def __init__(self, page: str = "model", corpus: str | None = "python-docs", **link: Any) -> None:
        self.at = AppTest.from_file(str(APP), default_timeout=SECONDS)
        if corpus is not None:
            self.at.session_state["corpus"] = str(corpus)
        self.at.query_params.update({name: str(value) for name, value in link.items()})
        self.go(page)

    @property
    def bench(self) -> Workbench:
        return shell.workbench()

    @property
    def ref(self) -> ModelRef:
        """The model of the link."""
        state = self.at.session_state
        return ModelRef(state["model"].strip(), state["revision"].strip() or None, state["dtype"], state["device"])

    @property
    def anatomy(self) -> Anatomy | None:
        """What is known of it."""
        return self.bench.known.anatomy(self.ref)

    @property
    def subject(self) -> Subject:
        """The model of the link, which must be in memory."""
        assert self.bench.executor.leases.resident(self.bench.known.identify(self.ref))
        with self.bench.executor.leases.lease(self.ref) as subject:
            return subject

    @property
    def answers(self) -> list[Entry]:
        """What is stored and was asked by a person, the newest first."""
        return [each for each in self.bench.store.entries() if each.about.get("question", {}).get("probe") in PROBES]

    @property
    def plan(self) -> str:
        return self.at.session_state["plan"]

    def go(self, page: str) -> "Visitor":
        """Open a page by its file's name."""
        self.at.switch_page(str(FILES[page].relative_to(APP.parent)))
        return self.look()

    def open(self, tabs: str, name: str) -> "Visitor":
        """Open one of some tabs; only that one is drawn."""
        self.at.session_state[tabs] = name
        return self.look()

    def look(self) -> "Visitor":
        """Draw the page again; it never shows a fault."""
        self.at.run()
        return self.whole()

    def click(self, key: str) -> "Visitor":
        self.at.button(key=key).click().run()
        return self.whole()

    def wait(self) -> "Visitor":
        """Until nothing runs any more; then look."""
        bench = self.bench
        for job in bench.jobs.list():
            assert job.wait(SECONDS)
        for live in bench.lives():
            assert live.over.wait(SECONDS)
        return self.look()

    def select(self, key: str, **selection: Any) -> "Visitor":
        """Click points of a chart or rows of a table, as a browser reports it."""
        found = [each.proto.id for each in (*self.at.get("plotly_chart"), *self.at.dataframe)]
        name = next(each for each in found if each.endswith(f"-{key}"))
        return self.told(name, string_value=json.dumps({"selection": selection}))

    def told(self, widget: str, **value: Any) -> "Visitor":
        """What a browser tells of a widget, where AppTest has no way to say it."""
        states = WidgetStates()
        states.CopyFrom(self.at._tree.get_widget_states())
        states.widgets.add(id=widget, **value)
        self.at._run(states)
        return self.whole()

    def point(self, chart: str, item: str) -> "Visitor":
        """Click what carries an item of a plan in a chart."""
        return self.select(chart, points=[{"customdata": [item, "…"]}], point_indices=[0], box=[], lasso=[])

    def whole(self) -> "Visitor":
        """Check that no page has ended in a traceback, each of its numbers is explained, and what looks clickable is."""
        assert not self.at.exception, [(each.message, *each.stack_trace[-3:]) for each in self.at.exception]
        assert not (left := unexplained(self.at)), left
        assert dead(self.at) == []
        return self

    def has(self, key: str) -> bool:
        return any(button.key == key for button in self.at.button)

    def errors(self) -> list[str]:
        return [unmarked(each.value) for each in self.at.error]

    def texts(self) -> str:
        """What stands on the page in captions, notes and paragraphs."""
        parts = (*self.at.caption, *self.at.info, *self.at.warning, *self.at.success, *self.at.markdown)
        return "\n".join(unmarked(str(each.value)) for each in parts)

    def table(self, column: str) -> list[dict]:
        """The rows of the table that has such a column."""
        found = [each.value for each in self.at.dataframe if column in each.value.columns]
        assert len(found) == 1, [list(each.value.columns) for each in self.at.dataframe]
        return found[0].to_dict("records")

    def figures(self) -> dict[str, dict]:
        """Charts by key, as their JSON."""
        charts = {each.proto.id.rpartition("-")[2]: each.proto.spec for each in self.at.get("plotly_chart")}
        return {key: json.loads(spec) for key, spec in charts.items() if not key.startswith("thumbnail")}

    def links(self) -> dict[str, str]:
        """Links to other pages by their labels, with what they bring along."""
        links = [each.proto for each in self.at.get("page_link")]
        return {each.label: f"{each.page}?{each.query_string}".rstrip("?") for each in links}


def dead(at: AppTest) -> list[str]:
    """Charts with points that carry a plan or say that they can be clicked, and cannot; tables of plans that lead nowhere."""
    found = []
    for chart in at.get("plotly_chart"):
        first = [row[0] for trace in json.loads(chart.proto.spec)["data"] for row in trace.get("customdata", []) if row]
        if not chart.proto.selection_mode and (any(map(_plan, first)) or "click to" in chart.proto.spec):
            found.append(chart.proto.id)
    for table in at.dataframe:
        plans = [each for name in ("plan", "part") if name in table.value.columns for each in table.value[name]]
        if not table.proto.selection_mode and any(map(_plan, plans)):
            found.append(table.proto.id)
    return [each for each in found if "thumbnail" not in each]


def _plan(text: object) -> bool:
    try:
        # past the cache of `parse`, by which tests count what a page does
        return isinstance(text, str) and bool(parse.__wrapped__(text))
    except Refusal:
        return False


def unexplained(at: AppTest) -> list[str]:
    """Labels of numbers on a page that have no help, or of which the glossary knows nothing."""
    missing = [each.label for each in at.metric if not each.proto.help or explained(each.label) is None]
    for table in at.dataframe:
        columns = json.loads(table.proto.columns or "{}")
        numbers = [
            name for name in table.value.columns if is_numeric_dtype(table.value[name]) and table.value[name].dtype != bool
        ]
        missing += [name for name in numbers if not columns.get(name, {}).get("help")]
    return missing


def unmarked(text: str) -> str:
    """Markdown as a person sees it, where letters are escaped so that they are no markup."""
    return re.sub(r"\\([^A-Za-z0-9\s])", r"\1", text)
