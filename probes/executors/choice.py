"""The executor that the operator chose."""

from cache.store import Store
from probes.executors.threads import Threads
from probes.executors.worker import Worker
from probes.known import Known
from settings import settings

Executor = Threads | Worker


def executor(store: Store, known: Known) -> Executor:
    """A new one of the kind that the setting ``executor`` names."""
    return Worker(store) if settings().executor == "worker" else Threads(store, known)
