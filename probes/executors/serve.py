"""The process that answers: ``python -m probes worker``, begun by the app and ended with it.

It holds the models, or asks a cluster. Requests come as lines of JSON, and so does what they come to: see
`probes.executors.worker`.
"""

import argparse
import json
import os
import signal
import sys
import threading
from contextlib import suppress

from probes.answer import open_store
from probes.executors.cluster import Cluster
from probes.executors.remote import Message
from probes.executors.served import Served
from probes.executors.threads import Threads
from probes.known import Known
from settings import settings


def command(parser: argparse.ArgumentParser, arguments: list[str]) -> str:
    """Serve until the input ends; returns what to print, which is nothing."""
    parser.parse_args(arguments)
    # What libraries print must not get between the lines.
    output, lock = os.fdopen(os.dup(1), "wb"), threading.Lock()
    os.dup2(2, 1)
    _go_first()
    for number in (signal.SIGINT, signal.SIGTERM):  # sent to all processes of a terminal or a service: the parent ends them
        signal.signal(number, lambda *_: None)

    def say(message: Message) -> None:
        with lock, suppress(BrokenPipeError):  # the parent is gone, and this process ends with its input
            output.write(json.dumps(message).encode() + b"\n")
            output.flush()

    store = open_store()
    known = Known(store)
    executor = Cluster(store, known) if settings().executor == "ray" else Threads(store, known)
    served = Served(executor, store, known.identify, say)
    for line in sys.stdin.buffer:
        served.take(json.loads(line))
    os._exit(0)  # the parent is gone; nobody waits for what still runs


def _go_first() -> None:
    """If the system runs out of memory, it should end this process and not the app."""
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write("800")
