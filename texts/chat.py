"""Chat templates, rendered beside this process: one that loops, grows or reaches for attributes costs a child and no more."""

import atexit
import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from refusal import Refusal

_PROGRAM = Path(__file__).with_name("rendering.py")
_PATIENCE = 60.0  # seconds for a text and for the start of the child on a busy machine; it stops computing much sooner
_PASSED = ("PATH", "SYSTEMROOT", "TMPDIR", "TEMP", "LANG")  # of the environment: nothing that is a secret
_LONGEST = 1_000_000  # characters of a template


def rendered(tokenizer: Any, turns: list[dict[str, str]], answering: bool = True) -> str:
    """Turns of a chat as the text that a model was trained to read.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerBase
        With a chat template.
    turns : list of dict
        ``role`` and ``content`` of each.
    answering : bool
        Whether the model's turn begins at the end; else the last turn is left open, to be continued.

    Raises
    ------
    Refusal
        There is no template, it refuses these turns, or it takes too much time or memory.
    """
    try:
        template = tokenizer.get_chat_template()
    except ValueError as error:  # none, or several without a default
        raise _refused("it has no default template") from error
    if not isinstance(template, str) or len(template) > _LONGEST:
        raise _refused("it is not text" if not isinstance(template, str) else f"it is longer than {_LONGEST:,} characters")
    options = {"add_generation_prompt": answering, "continue_final_message": not answering}
    more = dict(tokenizer.special_tokens_map)
    found = _RENDERER.ask(json.dumps({"template": template, "turns": turns, "more": more, "options": options}, default=str))
    if "refused" in found:
        raise _refused(found["refused"])
    return found["text"]


def _refused(why: str) -> Refusal:
    why = "".join(letter if letter.isprintable() else " " for letter in why).rstrip(".")
    return Refusal(f"The chat template of this model cannot be used ({why}). Turn it off to continue the plain text.")


class _Renderer:
    """One process for all templates, which take turns; it is started when it is needed, and again when it was ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen | None = None

    def ask(self, line: str) -> dict[str, str]:
        """What the child answers to a line; a reason where it ended or had to be ended."""
        with self._lock:
            process, late = self._running(), threading.Event()
            clock = threading.Timer(_PATIENCE, lambda: (late.set(), process.kill()))
            clock.start()
            try:
                process.stdin.write(line + "\n")
                process.stdin.flush()
                said = process.stdout.readline()
            except OSError:  # it is gone, and did not read to the end
                said = ""
            finally:
                clock.cancel()
            if said.endswith("\n"):
                return json.loads(said)
            code = process.wait()
            self._end()
        if late.is_set() or code == -getattr(signal, "SIGXCPU", 0):
            return {"refused": "it takes too long"}
        return {"refused": f"the process that renders it ended with code {code}"}

    def _running(self) -> subprocess.Popen:
        if self._process is None or self._process.poll() is not None:
            self._end()
            environment = {name: os.environ[name] for name in _PASSED if name in os.environ}
            environment |= {"HF_HUB_OFFLINE": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONUTF8": "1"}
            # -I: no folder of anybody's is looked into for modules
            self._process = subprocess.Popen(
                [sys.executable, "-I", str(_PROGRAM)], env=environment, encoding="utf-8", cwd=_PROGRAM.anchor,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with suppress(OSError):  # what it did not read is still to be written
                    pipe.close()

    def close(self) -> None:
        """End the process at the end of this one, also in the middle of a text."""
        if self._process is not None:
            self._process.kill()


_RENDERER = _Renderer()
atexit.register(_RENDERER.close)
