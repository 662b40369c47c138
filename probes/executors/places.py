"""Places for models on a Ray cluster: reserved by what each needs, and given back when they are idle and another needs room."""

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from models.subject import ModelRef
from probes.executors.nodes import begun, connected, ended, needs_of, possible, said
from probes.executors.remote import Message
from refusal import Progress, Refusal

POLL = 0.5  # seconds between two words to somebody who waits, who can then cancel
PATIENCE = 5.0  # seconds in which a process has to say that it runs, and Ray to use room that was made


@dataclass(eq=False)
class Place:
    """What one model has on the cluster.

    Attributes
    ----------
    needs : dict of str to float
        What Ray reserves: CPUs, GPUs, bytes of memory.
    group, actor : Any
        Ray's reservation, and the process that works there; None until there is room.
    up : bool
        Whether the process answers.
    users : int
        Requests that wait for it or run there.
    """

    needs: dict[str, float]
    group: Any
    actor: Any = None
    up: bool = False
    users: int = 0
    since: float = field(default_factory=time.monotonic)  # of its last use


class Places:
    """All places of this process. Ray is reached when the first one is needed."""

    def __init__(self) -> None:
        self._connecting = threading.Lock()  # guards the next one
        self._ray: ModuleType | None = None
        self._lock = threading.Lock()  # guards the next one, and the users and the actor of each place
        self._places: dict[ModelRef, Place] = {}
        self._numbers = itertools.count()

    def up(self) -> list[ModelRef]:
        """The models whose processes answer."""
        with self._lock:
            return [ref for ref, place in self._places.items() if place.up]

    @contextmanager
    def talk(self, ref: ModelRef, progress: Progress, begin: bool = True) -> Iterator["_Talk"]:
        """A request to the place of a model.

        Parameters
        ----------
        begin : bool
            Whether a model without a place gets one, and this counts as its use; else somebody only looks.

        Raises
        ------
        Refusal
            There is no cluster, none of its nodes has what the model needs, or the node or the process there died.
        """
        with self._connecting:
            self._ray = self._ray or connected()
        self._forget_dead(ref)
        place = self._used(ref, begin)
        try:
            self._wait(ref, place, progress)
            yield _Talk(self._ray, place.actor, next(self._numbers))
        except self._ray.exceptions.RayError as error:
            self._give_back(ref, place)
            raise Refusal(ended(error)) from error
        finally:
            with self._lock:
                place.users -= 1
                place.since = time.monotonic() if begin else place.since
            if not place.up:
                self._give_back(ref, place, only_idle=True)  # cancelled while it waited for room

    def release(self, wanted: Callable[[ModelRef], bool]) -> int:
        """Give back the places that nobody uses; returns how many."""
        with self._lock:
            idle = [(ref, place) for ref, place in self._places.items() if not place.users]
        gone = [(ref, place) for ref, place in idle if wanted(ref)]
        return sum(self._give_back(ref, place, only_idle=True) for ref, place in gone)

    def _forget_dead(self, ref: ModelRef) -> None:
        """A place that died while nobody asked anything of it is no answer to whoever asks next."""
        with self._lock:
            place = self._places.get(ref)
        if place is not None and place.up:
            try:
                self._ray.get(place.actor.up.remote(), timeout=PATIENCE)
            except self._ray.exceptions.GetTimeoutError:
                pass  # it is busy, or will be known to be dead
            except self._ray.exceptions.RayError:
                self._give_back(ref, place)

    def _used(self, ref: ModelRef, begin: bool) -> Place:
        """The place of a model with one user more."""
        with self._lock:
            place = self._places.get(ref)
            if place is not None:
                place.users += 1
                return place
        if not begin:
            raise Refusal(f"{ref.name} is no longer on the cluster. Load it again.")
        needs = needs_of(ref, self._ray)
        with self._lock:
            if ref not in self._places:  # nobody was faster
                self._places[ref] = Place(needs, self._ray.util.placement_group([needs]))
            self._places[ref].users += 1
            return self._places[ref]

    def _wait(self, ref: ModelRef, place: Place, progress: Progress) -> None:
        """Until the place is there and answers; idle places make room for it."""
        if place.up:
            return
        made = -PATIENCE
        while not place.group.wait(1):  # whole seconds: it takes less for none
            if time.monotonic() - made >= PATIENCE:  # Ray takes a moment to see what was given back
                self._make_room(place)
                made = time.monotonic()
            if not possible(place.needs, self._ray):
                self._reserve_again(ref, place)
            progress(0, 0, f"waiting for {said(place.needs)} on the cluster")
        with self._lock:
            if place.actor is None:
                place.actor = begun(self._ray, place.needs, place.group)
        ready = place.actor.up.remote()
        while not self._ray.wait([ready], timeout=POLL)[0]:
            progress(0, 0, "starting a process on the cluster")
        self._ray.get(ready)
        place.up = True

    def _reserve_again(self, ref: ModelRef, place: Place) -> None:
        """The only node that had what is waited for has gone: others may do, or none."""
        needs = needs_of(ref, self._ray)
        with self._lock:
            self._ray.util.remove_placement_group(place.group)
            place.needs, place.group = needs, self._ray.util.placement_group([needs])

    def _make_room(self, wanted: Place) -> None:
        with self._lock:
            idle = [(ref, place) for ref, place in self._places.items() if not place.users and place is not wanted]
        if idle:
            self._give_back(*min(idle, key=lambda each: each[1].since), only_idle=True)

    def _give_back(self, ref: ModelRef, place: Place, only_idle: bool = False) -> bool:
        """End a place and its reservation, once; False if it is gone, or somebody came meanwhile."""
        with self._lock:
            if self._places.get(ref) is not place or (only_idle and place.users):
                return False
            del self._places[ref]
        if place.actor is not None:
            self._ray.kill(place.actor)
        self._ray.util.remove_placement_group(place.group)
        return True


class _Talk:
    """One request to one place."""

    def __init__(self, ray: ModuleType, actor: Any, number: int) -> None:
        self._ray, self._actor, self._number = ray, actor, number

    def ask(self, message: Message) -> Message:
        return json.loads(self._ray.get(self.tell(message)))

    def tell(self, message: Message) -> Any:
        return self._actor.exchange.remote(json.dumps(message | {"number": self._number}).encode())

    def stored(self, key: str) -> bytes:
        """What the store of the node holds."""
        return self._ray.get(self._actor.stored.remote(key))
