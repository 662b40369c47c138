"""How long eight people wait for pages while a probe runs, without the browsers (``python -m benchmarks.people``).

Browsers on the same machine take the cores that the server needs. Here each person is a websocket that asks as Streamlit's page
does and reads what comes back, so nearly all the work is the server's. It prints a Markdown table for docs/operations.md.
"""

import argparse
import random
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import connect

from benchmarks.load import PLANS
from benchmarks.server import serving

PAGES = ("similarity", "key_rank", "deviation", "decide", "storage", "compare")
PROBE = "windows=2000&length=256&corpus=python-docs"  # longer than the people are here
_PATIENCE = 240  # seconds
_READS = 1.0, 3.0  # seconds between two clicks, at least and at most


class Person:
    """One tab. It is drawn once when it opens.

    Parameters
    ----------
    address : str
        Of the server, with http.
    """

    def __init__(self, address: str) -> None:
        self._line = connect(f"{address.replace('http', 'ws')}/_stcore/stream", subprotocols=["streamlit"], max_size=None)
        self._pages: dict[str, str] = {}  # what Streamlit calls them
        self.buttons: dict[str, str] = {}  # ids by label, of the page that is open
        self.faults: list[str] = []
        self.asks("")

    def asks(self, page: str, query: str = "", click: str = "") -> float:
        """Open a page, or click a button of the one that is open; seconds until it is drawn."""
        message = BackMsg()
        message.rerun_script.query_string = query
        if page in self._pages:
            message.rerun_script.page_script_hash = self._pages[page]
        else:
            message.rerun_script.page_name = page
        if click:
            pressed = message.rerun_script.widget_states.widgets.add()
            pressed.id, pressed.trigger_value = (
                next(key for label, key in self.buttons.items() if label.startswith(click)),
                True,
            )
        self.buttons = {}
        begun = time.monotonic()
        self._line.send(message.SerializeToString())
        while not self._finished():
            pass
        return time.monotonic() - begun

    def leaves(self) -> None:
        """Close the tab."""
        self._line.close()

    def _finished(self) -> bool:
        """Take one message; whether it says that the page is drawn."""
        message = ForwardMsg()
        message.ParseFromString(self._line.recv(timeout=_PATIENCE))
        kind = message.WhichOneof("type")
        if kind == "navigation":
            self._pages = {page.url_pathname: page.page_script_hash for page in message.navigation.app_pages}
        element = message.delta.new_element
        if element.WhichOneof("type") == "button":
            self.buttons[element.button.label] = element.button.id
        if element.WhichOneof("type") == "exception":
            self.faults.append(element.exception.message)
        return kind == "script_finished" and message.script_finished == ForwardMsg.FINISHED_SUCCESSFULLY


def visit(number: int, address: str, until: float, waits: list[float], faults: list[str]) -> None:
    """Answers in the drop lab and a look at two other pages, again and again until then."""
    try:
        _visit(number, address, until, waits, faults)
    except Exception as error:  # a thread has nobody else to tell
        faults.append(f"person {number}: {error!r}")


def _visit(number: int, address: str, until: float, waits: list[float], faults: list[str]) -> None:
    chance, person = random.Random(number), Person(address)
    query = f"plan={PLANS[number % len(PLANS)]}&dtype={('float32', 'bfloat16')[number % 2]}&answer_length=12&chat=false"
    while time.monotonic() < until:
        waits.append(person.asks("drop_lab", query))
        if "Answer" in person.buttons:
            waits.append(person.asks("drop_lab", query, "Answer"))
        elif any(label.startswith("Load") for label in person.buttons):  # else somebody else has pressed it
            person.asks("drop_lab", query, "Load")
        for page in chance.sample(PAGES, 2):
            time.sleep(chance.uniform(*_READS))
            waits.append(person.asks(page, query))
    faults += person.faults
    person.leaves()


def run(minutes: float, people: int, executor: str) -> tuple[list[float], list[str]]:
    """Seconds that each page took, and what stood on pages as an error."""
    waits: list[float] = []
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder) / "server", PRUNESCOPE_EXECUTOR=executor) as server:
        first = Person(server.address)
        first.asks("similarity", PROBE)
        first.asks("similarity", PROBE, "Load")
        while "Measure similarity" not in first.buttons:  # the model is loaded by a job
            time.sleep(1)
            first.asks("similarity", PROBE)
        first.asks("similarity", PROBE, "Measure")
        until = time.monotonic() + 60 * minutes
        threads = [threading.Thread(target=visit, args=(i, server.address, until, waits, faults)) for i in range(people)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        first.asks("similarity", PROBE)
        if "Cancel" not in first.buttons:
            faults.append("the probe did not last as long as the people")
    return waits, faults + first.faults


def main() -> int:
    """Run it and print the table; exit code 1 if a page showed an error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--people", type=int, default=8)
    parser.add_argument("--executor", default="threads", choices=["threads", "worker"], help="what computes on the server")
    options = parser.parse_args()
    waits, faults = run(options.minutes, options.people, options.executor)
    within = ", ".join(f"{np.mean(np.array(waits) <= seconds):.0%}" for seconds in (0.1, 0.3, 1.0, 3.0))
    rows = [
        ("people, minutes, executor", f"{options.people}, {options.minutes:g}, {options.executor}"),
        ("pages drawn", str(len(waits))),
        (
            "seconds until a page is drawn, median and 95th percentile",
            ", ".join(f"{np.quantile(waits, q):.2f}" for q in (0.5, 0.95)),
        ),
        ("pages drawn within 0.1, 0.3, 1 and 3 s", within),
        ("faults", "; ".join(faults[:5]) or "none"),
    ]
    print("\n".join(["| what | value |", "|---|---|", *(f"| {what} | {value} |" for what, value in rows)]))
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
