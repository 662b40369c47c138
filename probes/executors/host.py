"""One model on a node of a Ray cluster, and what is asked of it: bytes in, bytes out."""

import json
import queue

from models.subject import ModelRef
from probes.answer import open_store
from probes.executors.remote import Message
from probes.executors.served import Served, Tell
from probes.executors.threads import Threads
from probes.known import Known
from texts.sources import lent_text


class Host:
    """What Ray makes an actor of, with a thread for each call. Its store is that of its node."""

    def __init__(self) -> None:
        self._store = open_store()
        known = Known(self._store)
        self._said: dict[int, queue.SimpleQueue[bytes]] = {}
        self._served = _Answering(Threads(self._store, known), self._store, known.identify, self._say)

    def up(self) -> bytes:
        """Says that it runs."""
        return b""

    def exchange(self, line: bytes) -> bytes:
        """Take a message on one request, and return what is said next about it."""
        message = json.loads(line)
        for name, text in message.pop("texts", {}).items():
            lent_text(name, text)
        number = message["number"]
        if "what" in message:
            self._said[number] = queue.SimpleQueue()
        if number not in self._said:
            return b"{}"
        self._served.take(message)
        said = self._said[number].get()
        if said.keys() & {"done", "failed"}:
            del self._said[number]
        return json.dumps(said).encode()

    def stored(self, key: str) -> bytes:
        """What is said about an answer, as a line of JSON, and its bytes; empty: it is not in the store of this node."""
        row = self._store.read(key)
        return b"" if row is None else json.dumps(row.about).encode() + b"\n" + row.payload

    def _say(self, message: Message) -> None:
        self._said[message["number"]].put(message)


class _Answering(Served):
    """Answers that this node has in its store are not computed again."""

    def _answer(self, request: Message, tell: Tell) -> None:
        if not self._store.has(request["key"]):
            super()._answer(request, tell)

    def _load(self, request: Message, tell: Tell) -> str:
        """Returns the fingerprint."""
        super()._load(request, tell)
        return self._identify(ModelRef(**request["ref"]))
