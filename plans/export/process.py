"""A fresh process that reads an export back, watched, so that whoever waits for it can cancel."""

import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from refusal import Progress, Refusal

_POLL = 0.2  # seconds between two looks


def run(
    command: list[str], doing: str, complaint: Callable[[list[str], int], str], progress: Progress, folder: Path | None = None
) -> None:
    """Run a command to its end.

    Parameters
    ----------
    doing : str
        What is told meanwhile.
    complaint : callable
        ``complaint(lines, code)`` makes a sentence of what a failed process wrote to stderr and of its exit code.
    folder : Path, optional
        Where it runs.

    Raises
    ------
    Refusal
        It failed. Where ``progress`` raises, the process is killed.
    """
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=errors)
        try:
            while process.poll() is None:
                progress(0, 0, doing)
                try:
                    process.wait(_POLL)
                except subprocess.TimeoutExpired:
                    continue
        finally:
            if process.poll() is None:  # cancelled
                process.kill()
                process.wait()
        if process.returncode:
            errors.seek(0)
            raise Refusal(complaint(errors.read().decode("utf-8", "replace").strip().splitlines(), process.returncode))
