"""The log: a line for each question that was answered or not. Prompts, texts, parameters and secrets are never in it."""

import json
import logging
import threading
import time
from typing import Any

from settings import settings

_log = logging.getLogger("prunescope")
_FIELDS = ("event", "job", "probe", "person", "plan", "state", "seconds")
_LONGEST = 500  # characters of a value


class Lines(logging.Formatter):
    """A record as one line of JSON; of an error its kind, since its words may quote what somebody wrote."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        said: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        said |= {name: _short(getattr(record, name)) for name in _FIELDS if hasattr(record, name)}
        if record.exc_info and record.exc_info[0]:
            said["error"] = record.exc_info[0].__name__
        elif "event" not in said:
            said["message"] = _short(record.getMessage())
        return json.dumps(said)


def _short(value: Any) -> Any:
    return value[:_LONGEST] if isinstance(value, str) else value


def begin() -> None:
    """Let the log look as the operator wants it; asgi.py does so once.

    Raises
    ------
    Refusal
        The settings cannot be read.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(Lines() if settings().log == "json" else logging.Formatter("%(asctime)s %(message)s"))
    _log.setLevel(logging.INFO)
    _log.propagate = False
    _log.handlers = [handler]
    if settings().log == "json":
        for name in ("", "streamlit", "uvicorn", "uvicorn.error"):
            for each in logging.getLogger(name).handlers:
                each.setFormatter(Lines())


def follow(job: Any, asked: Any, person: str) -> None:
    """Write a line when a job ends, from a thread that waits for it."""

    def wait() -> None:
        job.wait()
        standing, plan = job.standing, str(asked.plan)
        said = {"job": job.key[:12], "probe": asked.probe.name, "person": person, "plan": plan, "state": standing.state}
        said |= {"event": "job", "seconds": round(standing.seconds, 3)}
        _log.info("job %(job)s %(probe)s of %(person)s, plan '%(plan)s': %(state)s in %(seconds)s s", said, extra=said)

    threading.Thread(target=wait, name="log", daemon=True).start()
