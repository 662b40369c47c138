"""Questions answered by a process of its own that holds the models, so the app survives its end.

Both sides speak in lines of JSON over pipes. Every request has a number; a progress waits to be told whether to go on, so a job
that rests or is cancelled here does so there. Answers go into the store that both share. If the process dies, or the system
kills it for its memory, whatever it was asked ends with a sentence, and the next request starts a new one.
"""

import itertools
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cache.store import Store
from models.residents import Resident
from models.subject import ModelRef
from plans.export.export import Exported, Order
from probes.executors.remote import Message, done, messages
from probes.generation.writing import Writing, Written
from probes.question import Asked
from refusal import Progress, silent
from settings import listed, settings

ROOT = Path(__file__).parents[2]


class Worker:
    """The same as `probes.executors.threads.Threads`, in another process."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._numbers = itertools.count()
        self._lock = threading.Lock()  # guards the next two, and the process's input
        self._process: subprocess.Popen | None = None
        self._waiting: dict[int, tuple[subprocess.Popen, queue.SimpleQueue[Message]]] = {}  # and whom they asked

    def answer(self, asked: Asked, progress: Progress) -> None:
        """The answer is in the store after that."""
        self._done("answer", {"key": asked.key, "question": asdict(asked.question)}, progress)

    def load(self, ref: ModelRef, progress: Progress) -> None:
        """Bring a model into the worker's memory, and note what it is made of."""
        self._done("load", {"ref": asdict(ref)}, progress)

    def at_once(self, asked: Asked) -> None:
        """Answer what takes less than 0.1 s, if the model is in the worker's memory; else do nothing."""
        if self.alive:
            self._done("at_once", {"key": asked.key, "question": asdict(asked.question)}, silent)

    def export(self, order: Order, progress: Progress) -> Exported:
        """Write a plan as a checkpoint."""
        given = asdict(order) | {"plan": str(order.plan)}
        found = self._done("export", {"order": given}, progress)
        return Exported(**found | {"folder": Path(found["folder"])})

    def write(self, writing: Writing, progress: Progress) -> Iterator[Written]:
        """Tokens of several views in turns; closing the iterator ends it."""
        with self._talk() as talk:
            for message in messages(talk, {"what": "write", "writing": writing.as_dict()}, progress):
                if "written" in message:
                    yield Written.of(message["written"])

    def residents(self) -> list[Resident]:
        """The models in the worker's memory; none where it does not run."""
        found = self._done("residents", {}, silent) if self.alive else []
        return [Resident(**each | {"ref": ModelRef(**each["ref"])}) for each in found]

    def release(self, fingerprint: str | None = None) -> int:
        """Let go of one model, or of all, unless somebody uses it; returns how many went."""
        return self._done("release", {"fingerprint": fingerprint}, silent) if self.alive else 0

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def end(self) -> None:
        """End the process, whatever it does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _done(self, what: str, given: Message, progress: Progress) -> Any:
        with self._talk() as talk:
            return done(talk, {"what": what} | given, progress)

    @contextmanager
    def _talk(self) -> Iterator["_Talk"]:
        """A request to the process, which is started if it does not run."""
        number, said = next(self._numbers), queue.SimpleQueue()
        with self._lock:
            if not self.alive:
                self._process = _started()
                threading.Thread(target=self._listen, args=(self._process,), name="worker", daemon=True).start()
            process = self._process
            self._waiting[number] = process, said
        try:
            yield _Talk(number, process, said, self._lock)
        finally:
            with self._lock:
                self._waiting.pop(number, None)

    def _listen(self, process: subprocess.Popen) -> None:
        """Hand every message to whoever asked; when the process has ended, tell all of them."""
        for line in process.stdout:
            if not line.endswith(b"\n"):
                break  # killed in the middle of a line
            message = json.loads(line)
            with self._lock:
                _, waiting = self._waiting.get(message["number"], (None, None))
            if waiting is not None:
                waiting.put(message)
        code = process.wait()
        with self._lock:  # another process may run already, and those who asked it go on
            for asked, waiting in self._waiting.values():
                if asked is process:
                    waiting.put({"failed": _ended(code), "kind": "Refusal"})


class _Talk:
    """One request to one process: never to the next one, which would work on what nobody waits for."""

    def __init__(self, number: int, process: subprocess.Popen, said: queue.SimpleQueue, lock: threading.Lock) -> None:
        self._number, self._process, self._said, self._lock = number, process, said, lock

    def ask(self, message: Message) -> Message:
        self.tell(message)
        return self._said.get()

    def tell(self, message: Message) -> None:
        with self._lock:
            try:
                self._process.stdin.write(json.dumps(message | {"number": self._number}).encode() + b"\n")
                self._process.stdin.flush()
            except (OSError, ValueError):
                pass  # it ended; whoever listens to it tells those who wait


def _started() -> subprocess.Popen:
    # What this process knows of its listeners, a child cannot know.
    more = {"PRUNESCOPE_PATHS": "listed"} if listed(settings()) else {}
    return subprocess.Popen(
        [sys.executable, "-m", "probes", "worker"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env=os.environ | more,
    )  # fmt: skip


def _ended(code: int) -> str:
    by = "the system killed it, perhaps because it used too much memory" if code == -9 else f"with exit code {code}"
    return (
        f"The computing process has ended: {by}. What was finished is kept. Ask again to start a new one; fewer or "
        "shorter windows, or a smaller dtype, need less memory."
    )
