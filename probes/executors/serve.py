"""The process that holds the models and answers: ``python -m probes worker``, begun by the app and ended with it.

It reads requests as lines of JSON and writes what they come to, see `probes.executors.worker`. Each request has a thread.
"""

import argparse
import json
import logging
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from typing import IO, Any

from cache.jobs import sentence
from cache.store import StoreError
from models.subject import ModelRef
from plans.export.export import Order
from plans.plan import parse
from probes.answer import open_store
from probes.executors.threads import Threads
from probes.generation.writing import Writing
from probes.known import Known
from probes.question import Asked, Question, resolve
from refusal import Refusal
from texts.corpus import CorpusRef

_log = logging.getLogger(__name__)
Message = dict[str, Any]
Tell = Callable[[Message], None]  # tells something, and waits to be told to go on


class Stopped(Exception):
    """Whoever asked does not want it any more."""


class Served:
    """The requests of one parent."""

    def __init__(self, output: IO[bytes]) -> None:
        store = open_store()
        self._store, self._known = store, Known(store)
        self._threads = Threads(store, self._known)
        self._output, self._lock = output, threading.Lock()  # the lock guards the output
        self._told: dict[int, queue.SimpleQueue[bool]] = {}

    def take(self, message: Message) -> None:
        """One line of the parent: a request, or whether one goes on."""
        number = message["number"]
        if "go_on" in message:
            if number in self._told:
                self._told[number].put(message["go_on"])
            return
        self._told[number] = queue.SimpleQueue()
        threading.Thread(target=self._serve, args=(number, message), daemon=True).start()

    def _serve(self, number: int, request: Message) -> None:
        def tell(message: Message) -> None:
            self._say(message | {"number": number})
            if not self._told[number].get():
                raise Stopped

        try:
            done = getattr(self, f"_{request['what']}")(request, tell)
        except Exception as error:  # the parent tells it to whoever asked
            kind = next((kind.__name__ for kind in (Refusal, StoreError) if isinstance(error, kind)), "RuntimeError")
            _log.warning("%s failed", request["what"], exc_info=kind == "RuntimeError" and not isinstance(error, Stopped))
            self._say({"number": number, "failed": sentence(error), "kind": kind})
        else:
            self._say({"number": number, "done": done})
        finally:
            del self._told[number]

    def _say(self, message: Message) -> None:
        with self._lock, suppress(BrokenPipeError):  # the parent is gone, and this process ends with its input
            self._output.write(json.dumps(message).encode() + b"\n")
            self._output.flush()

    def _asked(self, request: Message) -> Asked:
        asked = resolve(Question.of(request["question"]), self._known.identify)
        if asked.key != request["key"]:
            raise Refusal(f"The files of {asked.question.model.name} changed since this was asked. Ask again.")
        return asked

    def _answer(self, request: Message, tell: Tell) -> None:
        asked = self._asked(request)
        self._store.put(asked.key, *self._threads.answer(asked, _progress(tell)))

    def _at_once(self, request: Message, tell: Tell) -> None:
        asked = self._asked(request)
        self._threads.at_once(asked)

    def _load(self, request: Message, tell: Tell) -> None:
        self._threads.load(ModelRef(**request["ref"]), _progress(tell))

    def _export(self, request: Message, tell: Tell) -> Message:
        given = request["order"]
        more = {"ref": ModelRef(**given["ref"]), "plan": parse(given["plan"]), "text": CorpusRef(**given["text"])}
        done = self._threads.export(Order(**given | more), _progress(tell))
        return asdict(done) | {"folder": str(done.folder)}

    def _write(self, request: Message, tell: Tell) -> None:
        for each in self._threads.write(Writing.of(request["writing"]), _progress(tell)):
            tell({"written": each.as_dict()})

    def _residents(self, request: Message, tell: Tell) -> list[Message]:
        return [asdict(each) for each in self._threads.residents()]

    def _release(self, request: Message, tell: Tell) -> int:
        return self._threads.release(request["fingerprint"])


def _progress(tell: Tell) -> Callable[[float, float, str], None]:
    return lambda done, total, text="": tell({"progress": [done, total, text]})


def command(parser: argparse.ArgumentParser, arguments: list[str]) -> str:
    """Serve until the input ends; returns what to print, which is nothing."""
    parser.parse_args(arguments)
    # What libraries print must not get between the lines.
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _go_first()
    for number in (signal.SIGINT, signal.SIGTERM):  # sent to all processes of a terminal or a service: the parent ends them
        signal.signal(number, lambda *_: None)
    served = Served(output)
    for line in sys.stdin.buffer:
        served.take(json.loads(line))
    os._exit(0)  # the parent is gone; nobody waits for what still runs


def _go_first() -> None:
    """If the system runs out of memory, it should end this process and not the app."""
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write("800")
