"""The first token of a live answer while a long job runs, against the same alone: the job rests between two windows."""

import tempfile
import threading
import time
from pathlib import Path
from statistics import median

import torch

from benchmarks.timing import Line
from cache.jobs import Jobs
from cache.store import Store
from models.generate import Settings
from models.subject import ModelRef, Subject
from plans.cut import cut
from plans.plan import EMPTY, parse
from probes.executors.threads import Threads
from probes.generation.writing import Writing
from probes.known import Known
from refusal import silent
from texts.corpus import CorpusRef


def first_token(subject: Subject, window: torch.Tensor, rounds: int) -> list[Line]:
    """Seconds that a job of passes over windows adds to the first token of two plans that answer a prompt."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        threads, jobs = Threads(store, Known(store)), Jobs(store)
        threads.load(ModelRef(dtype="float32", device="cpu"), silent)
        alone = [_seconds(threads, jobs) for _ in range(rounds + 1)][1:]
        busy = []
        for i in range(rounds):
            begun, over = threading.Event(), threading.Event()

            def work(progress, begun=begun, over=over):
                view, done = cut(subject), 0
                while not over.is_set():
                    view.logits(window[None])
                    begun.set()
                    progress(done := done + 1, 10**6, "a window")

            jobs.submit(f"job {i}", "passes", work)
            begun.wait()
            busy.append(_seconds(threads, jobs))
            over.set()
        jobs.shutdown(None)
        store.close()
    later = median(busy) - median(alone)
    note = f"{median(alone):.2f} s alone; at most {max(busy):.2f} s while windows of {len(window)} tokens pass"
    return [Line("first token of a live answer, later beside a job than alone", later, "s", most=1, note=note)]


def _seconds(threads: Threads, jobs: Jobs) -> float:
    """From the click to the first token, as the drop lab does it."""
    writing = Writing(
        ModelRef(dtype="float32", device="cpu"), CorpusRef(), (EMPTY, parse("a25")), "The capital of France is", Settings(1)
    )
    begun = time.perf_counter()
    tokens = threads.write(writing, silent)
    next(tokens)
    with jobs.goes_first():
        next(tokens)
        seconds = time.perf_counter() - begun
        tokens.close()
    return seconds
