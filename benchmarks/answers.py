"""A known answer: how long a page waits for it inside a running process."""

import tempfile
from contextlib import contextmanager
from pathlib import Path

from benchmarks.timing import Line, format_median, in_turns
from cache.jobs import Jobs
from cache.store import Store
from models.subject import Subject
from probes.answer import by_lease, find, submit
from probes.known import Known
from probes.question import Question, resolve
from texts.corpus import CorpusRef


def known_answer(subject: Subject, rounds: int) -> list[Line]:
    """Find the answer to the similarity question on a text of its own kind, in a store of its own.

    The answer is that of one window: its size does not depend on how many there are.
    """
    question = Question("similarity", subject.ref, CorpusRef("python-docs", windows=1))

    @contextmanager
    def lease(*_: object):
        yield subject

    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        jobs, known = Jobs(store), Known(store)
        asked = resolve(question, known.identify)
        job = submit(jobs, asked, by_lease(lease, store))
        job.wait()
        jobs.shutdown()
        if job.state != "done":
            raise RuntimeError(f"The answer to look for was not computed: {job.error or job.state}")
        times = in_turns(rounds, {"page": lambda: known.find(question), "row": lambda: find(store, asked)})
        note = f"{store.size / 1e3:.0f} KB; {format_median(times['row'])} of it to read the row, the rest says which one it is"
        store.close()
    middle = sorted(times["page"])[rounds // 2] * 1e3
    return [Line("cached answer", middle, "ms", most=50, note=note)]
