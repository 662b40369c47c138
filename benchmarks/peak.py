"""Print the bytes that a similarity pass takes at its peak on top of the loaded model: ``python -m benchmarks.peak WINDOWS``.

A process of its own for each number, because an allocator gives little back: a second pass would reuse what the first left.
"""

import sys
import threading

import psutil

from models.loading.load import load
from models.subject import ModelRef
from plans.plan import Plan
from probes.base import NoParams
from probes.redundancy.similarity import PROBE
from texts.corpus import CorpusRef, read_corpus

_STEP = 0.002  # seconds between looks; the largest tensors of a pass live longer than that


def main() -> None:
    """Measure once."""
    subject = load(ModelRef())
    corpus = read_corpus(CorpusRef("python-docs", windows=int(sys.argv[1])), subject.tokenizer, subject.context)
    for weight in subject.model.parameters():
        weight.sum()  # a page of a mapped file counts once it was touched
    process, over = psutil.Process(), threading.Event()
    before = highest = process.memory_info().rss

    def look() -> None:
        nonlocal highest
        while not over.wait(_STEP):
            highest = max(highest, process.memory_info().rss)

    looking = threading.Thread(target=look)
    looking.start()
    PROBE.run(subject, corpus, Plan(), NoParams())
    over.set()
    looking.join()
    print(highest - before)


if __name__ == "__main__":
    main()
