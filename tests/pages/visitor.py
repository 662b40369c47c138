"""A person at the app, without a browser: opens a link, clicks, and waits for what runs instead of sleeping."""

import json
from pathlib import Path
from typing import Any

from streamlit.proto.WidgetStates_pb2 import WidgetStates
from streamlit.testing.v1 import AppTest

from pages import shell
from pages.shell.workbench import Workbench

APP = Path(__file__).parent.parent.parent / "app.py"
SECONDS = 60  # the longest that anything in these tests may take


class Visitor:
    """One session of the app. ``bench`` is what all sessions share.

    A corpus that is no option of its field is put into the session and not into the link: AppTest cannot tell the app of
    such a value, though a browser can.
    """

    def __init__(self, page: str = "model", corpus: str = "python-docs", **link: Any) -> None:
        self.at = AppTest.from_file(str(APP), default_timeout=SECONDS)
        self.at.session_state["corpus"] = str(corpus)
        self.at.query_params.update({name: str(value) for name, value in link.items()})
        self.go(page)

    @property
    def bench(self) -> Workbench:
        return shell.workbench()

    @property
    def plan(self) -> str:
        return self.at.session_state["plan"]

    def go(self, page: str) -> "Visitor":
        """Open a page by its file's name."""
        self.at.switch_page(f"pages/{page}.py")
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
        if bench.loading is not None:
            assert bench.loading.over.wait(SECONDS)
        for job in bench.jobs.list():
            assert job.wait(SECONDS)
        for live in bench.lives.values():
            assert live.over.wait(SECONDS)
        return self.look()

    def select(self, key: str, **selection: Any) -> "Visitor":
        """Click points of a chart or rows of a table, as a browser reports it."""
        found = [each.proto.id for each in (*self.at.get("plotly_chart"), *self.at.dataframe)]
        name = next(each for each in found if each.endswith(f"-{key}"))
        states = WidgetStates()
        states.CopyFrom(self.at._tree.get_widget_states())
        states.widgets.add(id=name, string_value=json.dumps({"selection": selection}))
        self.at._run(states)
        return self.whole()

    def point(self, chart: str, item: str) -> "Visitor":
        """Click what carries an item of a plan in a chart."""
        return self.select(chart, points=[{"customdata": [item, "…"]}], point_indices=[0], box=[], lasso=[])

    def whole(self) -> "Visitor":
        """Check that no page has ended in a traceback."""
        assert not self.at.exception, [(each.message, *each.stack_trace[-3:]) for each in self.at.exception]
        return self

    def has(self, key: str) -> bool:
        return any(button.key == key for button in self.at.button)

    def errors(self) -> list[str]:
        return [each.value for each in self.at.error]

    def texts(self) -> str:
        """What stands on the page in captions, notes and paragraphs."""
        parts = (*self.at.caption, *self.at.info, *self.at.warning, *self.at.success, *self.at.markdown)
        return "\n".join(str(each.value) for each in parts)

    def table(self, column: str) -> list[dict]:
        """The rows of the table that has such a column."""
        found = [each.value for each in self.at.dataframe if column in each.value.columns]
        assert len(found) == 1, [list(each.value.columns) for each in self.at.dataframe]
        return found[0].to_dict("records")

    def figures(self) -> dict[str, dict]:
        """Charts by key, as their JSON."""
        charts = {each.proto.id.rpartition("-")[2]: each.proto.spec for each in self.at.get("plotly_chart")}
        return {key: json.loads(spec) for key, spec in charts.items()}
