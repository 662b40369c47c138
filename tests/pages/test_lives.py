"""Answers that are written live: views and the models' caches are let go of, and few answers are remembered."""

import gc

from models.generate import Settings, Writer
from models.view import View
from pages.shell.workbench import _LIVES
from plans.plan import EMPTY, parse
from probes.generation.writing import Writing
from texts.corpus import CorpusRef


def alive(kind):
    gc.collect()
    return sum(type(each) is kind for each in gc.get_objects())


def test_a_hundred_answers_leave_nothing_behind(visit):
    visitor = visit("drop_lab")
    bench, before = visitor.bench, alive(View)
    for _ in range(100):
        name = bench.write(Writing(visitor.ref, CorpusRef(), (EMPTY, parse("a1")), "The capital", Settings(length=2)))
        assert bench.live(name).over.wait(60) and not bench.live(name).error
    assert len(bench.lives()) == _LIVES and [len(each) for each in bench.live(name).tokens] == [2, 2]
    assert (alive(View), alive(Writer)) == (before, 0)
