"""The fidelity of a second plan: the dense side is kept, so it costs little more than one forward pass of the plan's view."""

import torch

from benchmarks.timing import Line, in_turns, ratio
from models.subject import Subject
from plans.cut import cut
from plans.plan import parse
from probes.base import NoParams
from probes.deviation.dense import DenseSide
from probes.deviation.fidelity import PROBE
from texts.corpus import CorpusRef, read_corpus

_FIRST, _SECOND = parse("a7"), parse("a25")


def second_plan(subject: Subject, windows: int, rounds: int) -> list[Line]:
    """A plan whose dense side is known against a bare pass of its view, all logits included; and against the first plan."""
    corpus = read_corpus(CorpusRef("python-docs", windows=windows), subject.tokenizer, subject.context)
    tokens = torch.from_numpy(corpus.tokens)
    kept = DenseSide(subject, tokens)
    PROBE.run(subject, corpus, _FIRST, NoParams(), dense=kept)
    view = cut(subject, _SECOND)

    def bare() -> None:
        for window in tokens:
            view.logits(window[None])

    times = in_turns(
        rounds,
        {
            "forward pass of its view": bare,
            "fidelity of a second plan": lambda: PROBE.run(subject, corpus, _SECOND, NoParams(), dense=kept),
            "fidelity of a first plan": lambda: PROBE.run(subject, corpus, _SECOND, NoParams()),
        },
    )
    return [
        ratio(times, "fidelity of a second plan", "forward pass of its view", most=1.3),
        ratio(times, "fidelity of a second plan", "fidelity of a first plan"),
    ]
