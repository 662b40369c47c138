"""The executor that the operator chose, and the queue that each model has there."""

from dataclasses import asdict

from cache.keys import canonical
from cache.store import Store
from models.loading.memory import device_of
from models.subject import ModelRef
from probes.executors.threads import Threads
from probes.executors.worker import Worker
from probes.known import Known
from settings import settings

Executor = Threads | Worker


def executor(store: Store, known: Known) -> Executor:
    """A new one of the kind that the setting ``executor`` names."""
    return Threads(store, known) if settings().executor == "threads" else Worker(store)


def queue_of(ref: ModelRef) -> str:
    """Where questions on a model wait: each device has a queue, and on a cluster each model."""
    return f"model {canonical(asdict(ref))}" if settings().executor == "ray" else device_of(ref.device)
