"""The log: a line of JSON for each job, with who asked for what and how long it took, and nothing that anybody wrote."""

import io
import json
import logging
import threading

import pytest

from cache.jobs import Jobs
from models.lease import Leases
from models.subject import ModelRef
from pages.serving import log
from probes.answer import by_lease, open_store, submit
from probes.known import identify
from probes.question import Question, resolve

SECRET = "swordfish is what the capital says"


@pytest.fixture
def lines(monkeypatch):
    """Begin the log in JSON; gives what was written, line by line, after as many lines as are waited for."""
    monkeypatch.setenv("PRUNESCOPE_LOG", "json")
    stream, written, logger = io.StringIO(), threading.Semaphore(0), logging.getLogger("prunescope")
    before = logger.handlers, logger.propagate, logger.level
    log.begin()
    [handler] = logger.handlers
    handler.setStream(stream)
    emit = handler.emit

    def noted(record):
        emit(record)
        written.release()

    handler.emit = noted

    def read(count):
        for _ in range(count):
            assert written.acquire(timeout=60)
        return [json.loads(line) for line in stream.getvalue().splitlines()]

    yield read
    logger.handlers, logger.propagate = before[:2]
    logger.setLevel(before[2])


def test_a_job_is_a_line_without_what_anybody_wrote(lines, tiny_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("PRUNESCOPE_DATA", str(tmp_path))
    params = {"prompts": SECRET, "length": 2, "chat": "off"}
    asked = resolve(Question("generation_drift", ModelRef(str(tiny_folder)), plan="a1", params=params), identify)
    jobs = Jobs(open_store())
    job = submit(jobs, asked, by_lease(Leases(lambda memory: 10**10).lease, jobs.store))
    log.follow(job, asked, "ada@example.com")
    [line] = lines(1)
    jobs.shutdown()
    assert line.pop("time").endswith("Z") and line.pop("seconds") >= 0
    assert line == {
        "level": "info", "logger": "prunescope", "event": "job", "job": asked.key[:12], "probe": "generation_drift",
        "person": "ada@example.com", "plan": "a1", "state": "done",
    }  # fmt: skip


def test_of_an_error_only_its_kind_is_told(lines):
    try:
        raise ValueError(f"cannot read {SECRET}")
    except ValueError:
        logging.getLogger("prunescope").exception("failed on %s", SECRET)
    [line] = lines(1)
    assert line["error"] == "ValueError" and "swordfish" not in json.dumps(line)
