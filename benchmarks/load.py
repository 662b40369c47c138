"""A server under load: several browsers with plans of their own on two models, for minutes (``make load``).

What is watched: every greedy text equals the one computed alone afterwards, no page shows a fault, memory is flat, and pages
answer while probes run. It prints a Markdown table for docs/operations.md; exit code 1 if something was wrong.
"""

import argparse
import ctypes
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.server import serving

PLANS = ("a25", "a26", "a25,a26", "m16", "a28,a29", "b20", "m14,m15", "a3")
_BEHIND = 10  # steps of priority
_DROP_CAPABILITY, _SYS_NICE = 24, 23  # PR_CAPBSET_DROP and CAP_SYS_NICE of Linux, for processes that are started from now on
_READS = 1.0, 5.0  # seconds that a person reads an answer or a page before the next click, at least and at most
_WAIT = 240_000  # ms that anything on a page may take; how long pages took is told anyway


@dataclass
class Seen:
    """What all browsers saw; guarded by the lock."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    pages: list[float] = field(default_factory=list)  # seconds from a click on the menu until the page is ready
    texts: dict[tuple[str, str], set[str]] = field(default_factory=dict)  # greedy answers by model and plan
    faults: list[str] = field(default_factory=list)
    answers: int = 0

    def crossed(self, alone: "Seen") -> list[str]:
        """Models and plans whose greedy text was not at every visit the one that was written alone, with what was read."""
        return [f"{key}: {sorted(texts)}" for key, texts in self.texts.items() if texts != alone.texts.get(key)]


def visitor(number: int, address: str, until: float, seen: Seen, chromium: str) -> None:
    """One person, for one round or more: no round begins after ``until``, in seconds of the monotonic clock."""
    from playwright.sync_api import Error, sync_playwright

    chance = random.Random(number)
    with sync_playwright() as player:
        browser = player.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(_WAIT)
        try:
            _round(page, number, address, chance, seen)
            while time.monotonic() < until:
                _round(page, number, address, chance, seen)
        except Error as error:
            with seen.lock:
                seen.faults.append(f"visitor {number}: {str(error).splitlines()[0]}")
        finally:
            browser.close()


def _round(page, number: int, address: str, chance: random.Random, seen: Seen) -> None:
    """Answers in the drop lab, a look at two other pages, a probe now and then."""
    plan, dtype = PLANS[number % len(PLANS)], ("float32", "bfloat16")[number % 2]
    page.goto(f"{address}/drop_lab?plan={plan}&dtype={dtype}&answer_length=12&chat=false")
    _answered(page, (dtype, plan), seen)
    _read(page, chance)
    for title in chance.sample(["Similarity", "Key rank", "Deviation", "Decide", "Storage", "Compare"], 2):
        _looked(page, title, seen)
        _read(page, chance)
    if chance.random() < 0.3:
        page.goto(f"{address}/similarity?plan={plan}&dtype={dtype}&windows={chance.randint(1, 9)}&length=256")
        button = page.get_by_role("button", name="Measure similarity")
        if button.count():
            button.click()


def _read(page, chance: random.Random) -> None:
    page.wait_for_timeout(1000 * chance.uniform(*_READS))


def _answered(page, key: tuple[str, str], seen: Seen) -> None:
    load = page.get_by_role("button", name="Load bundled")
    answer = page.get_by_role("button", name="Answer", exact=True)
    load.or_(answer).first.wait_for()
    if load.count():
        load.click()
    answer.click()
    page.get_by_text("Every step as a table").first.wait_for()  # for a moment, the fragment's and the page's
    page.locator("[data-test-script-state=notRunning]").wait_for()  # now only the page's
    text = page.locator(".answer").last.inner_text()
    with seen.lock:
        seen.texts.setdefault(key, set()).add(text)
        seen.answers += 1
        if page.locator("[data-testid=stException]").count():
            seen.faults.append(f"{key}: an exception on the page")


def _looked(page, title: str, seen: Seen) -> None:
    begun = time.monotonic()
    page.get_by_test_id("stSidebarNavItems").get_by_role("link", name=title, exact=True).click()
    page.get_by_role("heading", name=title, exact=True, level=1).wait_for()
    with seen.lock:
        seen.pages.append(time.monotonic() - begun)
        if page.locator("[data-testid=stException]").count():
            seen.faults.append(f"{title}: an exception on the page")


def memory(process: subprocess.Popen) -> float:
    """Resident bytes of the server and of the processes that it has started."""
    server = psutil.Process(process.pid)
    held = 0
    for each in (server, *server.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            held += each.memory_info().rss
    return float(held)


def drawn(address: str) -> dict[float, float]:
    """The share of all pages that the server itself had drawn within so many seconds, as `/metrics` counts them."""
    with urllib.request.urlopen(f"{address}/metrics", timeout=60) as answer:
        families = text_string_to_metric_families(answer.read().decode())
    within: Counter[float] = Counter()
    for sample in next(family for family in families if family.name == "prunescope_page_seconds").samples:
        if sample.name.endswith("_bucket"):
            within[float(sample.labels["le"])] += sample.value
    return {seconds: count / within[float("inf")] for seconds, count in sorted(within.items())}


def _stand_behind() -> None:
    """The browsers of a team are on other machines: here they take what drawing pages leaves."""
    os.nice(_BEHIND)
    if sys.platform == "linux":  # run by root, Chromium would put its threads before all others again, at -8
        ctypes.CDLL(None).prctl(_DROP_CAPABILITY, _SYS_NICE)


def run(minutes: float, browsers: int, data: Path, executor: str) -> dict:
    """Let them all work at once; returns what was measured."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("There is no Chromium here: install it with `apt install chromium`.")
    seen, alone, held = Seen(), Seen(), []
    with serving(data / "server", PRUNESCOPE_EXECUTOR=executor) as server:
        _stand_behind()
        until = time.monotonic() + 60 * minutes
        threads = [threading.Thread(target=visitor, args=(i, server.address, until, seen, chromium)) for i in range(browsers)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            held.append(memory(server.process))
            time.sleep(2)
        within = drawn(server.address)
        for i in range(browsers):
            visitor(i, server.address, 0.0, alone, chromium)
    third = max(1, len(held) // 3)
    return {
        "minutes": minutes, "browsers": browsers, "executor": executor, "answers": seen.answers, "pages": len(seen.pages),
        "page_median": float(np.median(seen.pages)) if seen.pages else float("nan"),
        "drawn_within": within,
        "page_95": float(np.quantile(seen.pages, 0.95)) if seen.pages else float("nan"),
        "memory_begin": float(np.median(held[third : 2 * third])) if held else float("nan"),
        "memory_end": float(np.median(held[-third:])) if held else float("nan"),
        "crossed": seen.crossed(alone),
        "faults": seen.faults + alone.faults,
    }  # fmt: skip


def main() -> int:
    """Run it, print the table, and say what was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--browsers", type=int, default=8)
    parser.add_argument("--executor", default="threads", choices=["threads", "worker"], help="what computes on the server")
    parser.add_argument("--json", action="store_true", help="print what was measured as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = run(options.minutes, options.browsers, Path(folder), options.executor)
    if options.json:
        print(json.dumps(found))
    else:
        print(table(found))
    return int(bool(found["crossed"] or found["faults"] or not found["answers"]))


def table(found: dict) -> str:
    """What was measured, as Markdown."""
    grown = found["memory_end"] / found["memory_begin"] - 1
    rows = [
        ("browsers, minutes, executor", f"{found['browsers']}, {found['minutes']:g}, {found['executor']}"),
        ("answers, pages opened", f"{found['answers']}, {found['pages']}"),
        (
            "pages drawn by the server within 0.1, 0.3, 1 and 3 s",
            ", ".join(f"{found['drawn_within'][seconds]:.0%}" for seconds in (0.1, 0.3, 1.0, 3.0)),
        ),
        (
            "time until a page is ready in its browser, median and 95th percentile",
            f"{found['page_median']:.2f} s, {found['page_95']:.2f} s",
        ),
        (
            "memory of the server, last third of the run against the middle third",
            f"{found['memory_end'] / 1e9:.2f} GB, {grown:+.1%}",
        ),
        ("plans whose greedy text was not the one written alone", ", ".join(found["crossed"]) or "none"),
        ("faults", "; ".join(found["faults"][:5]) or "none"),
    ]
    return "\n".join(["| what | value |", "|---|---|", *(f"| {what} | {value} |" for what, value in rows)])


if __name__ == "__main__":
    sys.exit(main())
