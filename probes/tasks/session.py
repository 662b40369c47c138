"""The parent's side of the harness: a process that asks, and ends when the question is cancelled."""

import importlib.util
import json
import select
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from refusal import Progress, Refusal

ROOT = Path(__file__).parents[2]
_POLL = 0.2  # seconds between two looks
_NEEDED = "lm_eval"


def refuse_missing() -> None:
    """Refuse where lm-evaluation-harness is not installed."""
    if importlib.util.find_spec(_NEEDED) is None:
        raise Refusal("Tasks need lm-evaluation-harness, which is not installed. Run: pip install 'lm_eval>=0.4.13,<0.5'")


def run(job: dict[str, Any], reply: Callable[[str, list[Any]], list[Any]], progress: Progress) -> list[dict[str, Any]]:
    """Evaluate in a fresh process.

    Parameters
    ----------
    job : dict
        What `probes.tasks.harness.evaluated` reads.
    reply : callable
        ``reply("score", pairs of token ids)`` and ``reply("write", [ids, most, stops])``, from the model.

    Raises
    ------
    Refusal
        A task is unknown, cannot be prepared, or the process failed. Where ``progress`` raises, the process is killed.
    """
    refuse_missing()
    command = [sys.executable, "-m", "probes.tasks.harness"]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
        try:
            _write(process.stdin, job)
            while "ask" in (message := _read(process, errors, progress)):
                _write(process.stdin, reply(message["ask"], message["requests"]))
        finally:
            process.kill()
            process.wait()
            with suppress(BrokenPipeError):  # what was not taken is still to be written
                process.stdin.close()
            process.stdout.close()
    if "refused" in message:
        raise Refusal(message["refused"])
    return message["found"]


def _write(pipe: IO[bytes], message: Any) -> None:
    try:
        pipe.write(json.dumps(message).encode() + b"\n")
        pipe.flush()
    except BrokenPipeError:
        pass  # the process ended; what it said last is read and told


def _read(process: subprocess.Popen, errors: IO[bytes], progress: Progress) -> dict[str, Any]:
    """What the process says next; both take turns, so nothing else can be on the way."""
    while not select.select([process.stdout], [], [], _POLL)[0]:
        progress(0, 0, "lm-evaluation-harness is preparing the tasks")
    line = process.stdout.readline()
    if not line.endswith(b"\n"):
        process.wait()
        errors.seek(0)
        said = errors.read().decode("utf-8", "replace").strip().splitlines()
        raise Refusal(f"lm-evaluation-harness failed: {said[-1] if said else f'exit code {process.returncode}'}")
    return json.loads(line)
