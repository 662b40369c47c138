"""Requests of a process elsewhere, answered here: each is a message that is data, and so is what is said about it."""

import logging
import queue
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict

from cache.jobs import sentence
from cache.rests import COMPUTING, LIVE, stand_behind
from cache.store import Store, StoreError
from models.subject import ModelRef
from plans.export.export import Order
from plans.plan import parse
from probes.executors.remote import Message
from probes.executors.threads import Threads
from probes.generation.writing import Writing
from probes.question import Asked, Identify, Question, resolve
from refusal import Progress, Refusal
from texts.corpus import CorpusRef

_log = logging.getLogger(__name__)
# Requests whose threads leave the processor to others; whoever makes the rest waits for them.
_BEHIND = {"answer": COMPUTING, "load": COMPUTING, "export": COMPUTING, "write": LIVE}
Tell = Callable[[Message], None]  # tells something, and waits to be told to go on


class Stopped(Exception):
    """Whoever asked does not want it any more."""


class Served:
    """The requests of one parent, each on a thread of its own.

    Parameters
    ----------
    executor : Threads
        Or what does the same.
    say : callable
        Tells the parent something, from any thread.
    """

    def __init__(self, executor: Threads, store: Store, identify: Identify, say: Callable[[Message], None]) -> None:
        self._executor, self._store, self._identify, self._say = executor, store, identify, say
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

        stand_behind(_BEHIND.get(request["what"], 0))
        try:
            done = getattr(self, f"_{request['what']}")(request, tell)
        except BaseException as error:  # SystemExit too: the parent waits, and tells it to whoever asked
            kind = next((kind.__name__ for kind in (Refusal, StoreError) if isinstance(error, kind)), "RuntimeError")
            _log.warning("%s failed", request["what"], exc_info=kind == "RuntimeError" and not isinstance(error, Stopped))
            self._say({"number": number, "failed": sentence(error), "kind": kind})
        else:
            self._say({"number": number, "done": done})
        finally:
            del self._told[number]

    def _asked(self, request: Message) -> Asked:
        asked = resolve(Question.of(request["question"]), self._identify)
        if asked.key != request["key"]:
            raise Refusal(f"The files of {asked.question.model.name} have changed since this was asked. Ask again.")
        return asked

    def _answer(self, request: Message, tell: Tell) -> None:
        asked = self._asked(request)
        found = self._executor.answer(asked, _progress(tell))
        if found is not None:
            self._store.put(asked.key, *found)

    def _at_once(self, request: Message, tell: Tell) -> None:
        asked = self._asked(request)
        self._executor.at_once(asked)

    def _load(self, request: Message, tell: Tell) -> None:
        self._executor.load(ModelRef(**request["ref"]), _progress(tell))

    def _export(self, request: Message, tell: Tell) -> Message:
        given = request["order"]
        more = {"ref": ModelRef(**given["ref"]), "plan": parse(given["plan"]), "text": CorpusRef(**given["text"])}
        done = self._executor.export(Order(**given | more), _progress(tell))
        return asdict(done) | {"folder": str(done.folder)}

    def _write(self, request: Message, tell: Tell) -> None:
        with closing(self._executor.write(Writing.of(request["writing"]), _progress(tell))) as tokens:
            for each in tokens:
                tell({"written": each.as_dict()})

    def _residents(self, request: Message, tell: Tell) -> list[Message]:
        return [asdict(each) for each in self._executor.residents()]

    def _release(self, request: Message, tell: Tell) -> int:
        return self._executor.release(request["fingerprint"])


def _progress(tell: Tell) -> Progress:
    return lambda done, total, text="": tell({"progress": [done, total, text]})
