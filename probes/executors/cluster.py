"""Questions answered on a Ray cluster: each model has a place on a node, with the CPUs, the GPU and the memory that it needs.

Questions go there as JSON, and answers come back as bytes that are looked at before they are stored. If a node or a process
there dies, whatever was asked of it ends with a sentence, and the next question finds a new place.
"""

import json
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import asdict
from typing import Any

from cache.codec import CodecError, decode
from cache.store import Store
from models.residents import Resident
from models.subject import ModelRef
from plans.export.export import Exported, Order
from probes.base import from_dict
from probes.executors.places import Places
from probes.executors.remote import Message, done, messages
from probes.executors.threads import Threads
from probes.generation.writing import Writing, Written
from probes.known import Known
from probes.question import Asked, Question, resolve
from refusal import Progress, Refusal, silent
from texts.hub import HUB_TEXTS
from texts.sources import OWN, read_text


class Cluster:
    """The same as `probes.executors.threads.Threads`, on a cluster; what belongs to this machine is done here."""

    def __init__(self, store: Store, known: Known) -> None:
        self._store, self._known = store, known
        self._here = Threads(store, known)
        self._places = Places()

    def answer(self, asked: Asked, progress: Progress) -> tuple[bytes, dict[str, Any]]:
        """The bytes of an answer and what is said about it."""
        if asked.probe.by_machine is not None and asked.probe.by_machine(asked.params):
            return self._here.answer(asked, progress)
        return self._answer(asked, progress)

    def load(self, ref: ModelRef, progress: Progress) -> None:
        """Bring a model into the memory of a node, and note what it is made of."""
        fingerprint = self._done(ref, {"what": "load", "ref": asdict(ref)}, progress)
        self._known.note(ref, fingerprint)
        asked = resolve(Question("anatomy", ref), lambda _: fingerprint)
        if self._store.about(asked.key) is None:
            self._store.put(asked.key, *self._answer(asked, progress))

    def at_once(self, asked: Asked) -> None:
        """Answer what takes less than 0.1 s, if the model has a place; else do nothing."""
        if asked.question.model in self._places.up():
            self._store.put(asked.key, *self._answer(asked, silent, begin=False))

    def export(self, order: Order, progress: Progress) -> Exported:
        """Write a plan as a checkpoint, on this machine."""
        return self._here.export(order, progress)

    def write(self, writing: Writing, progress: Progress) -> Iterator[Written]:
        """Tokens of several views in turns; closing the iterator ends it."""
        request = {"what": "write", "writing": writing.as_dict(), "texts": _texts(writing.corpus.name)}
        with self._places.talk(writing.ref, progress) as talk, closing(messages(talk, request, progress)) as said:
            for message in said:
                if "written" in message:
                    yield Written.of(message["written"])

    def residents(self) -> list[Resident]:
        """The models on the cluster, and those that are here for what is done here."""
        found: list[Message] = []
        for ref in self._places.up():
            with suppress(Refusal):  # it went meanwhile
                found += self._done(ref, {"what": "residents"}, silent, begin=False)
        return [Resident(**each | {"ref": ModelRef(**each["ref"])}) for each in found] + self._here.residents()

    def release(self, fingerprint: str | None = None) -> int:
        """Give the places of one model back, or of all, unless somebody uses them; returns how many went."""
        there = self._places.release(lambda ref: fingerprint is None or self._known.identify(ref) == fingerprint)
        return there + self._here.release(fingerprint)

    def _answer(self, asked: Asked, progress: Progress, begin: bool = True) -> tuple[bytes, dict[str, Any]]:
        """Asked of the model's place, and brought here from the store there."""
        question = asked.question
        named = [question.corpus.name, *(getattr(asked.params, name) for name in asked.probe.texts)]
        request = {"what": "answer", "key": asked.key, "question": asdict(question), "texts": _texts(*named)}
        with self._places.talk(question.model, progress, begin) as talk:
            done(talk, request, progress)
            return _looked_at(asked, talk.stored(asked.key))

    def _done(self, ref: ModelRef, request: Message, progress: Progress, begin: bool = True) -> Any:
        with self._places.talk(ref, progress, begin) as talk:
            return done(talk, request, progress)


def _texts(*names: str) -> dict[str, str]:
    """Texts that are kept on this machine alone, by name."""
    return {name: read_text(name) for name in names if name.startswith(OWN) or name in HUB_TEXTS}


def _looked_at(asked: Asked, stored: bytes) -> tuple[bytes, dict[str, Any]]:
    """An answer from elsewhere, if it is one to this question; what was asked is said in our own words."""
    about, _, payload = stored.partition(b"\n")
    try:
        from_dict(asked.probe.result, decode(payload))
        return payload, json.loads(about) | {"question": asked.record}
    except (CodecError, TypeError, ValueError) as error:
        raise Refusal("What the cluster sent is not an answer to this question, so it was not stored. Ask again.") from error
