"""Dropping attention, MLP and block of several layers with the common beginning shared, against a view and a pass for each."""

import numpy as np
import torch

from benchmarks.timing import Line, in_turns, ratio
from models.head import last_states
from models.subject import Subject
from plans.cut import cut
from plans.plan import EMPTY, parse
from probes.base import NoParams
from probes.deviation import fidelity
from probes.deviation.dense import DenseSide
from probes.scan.damage import Reference, damage
from texts.corpus import CorpusRef, read_corpus

_STEP = 6  # every sixth layer, so that their mean depth is that of all layers


def shared_beginning(subject: Subject, windows: int, rounds: int) -> list[Line]:
    """The same drops three ways; the dense side is kept for all of them."""
    corpus = read_corpus(CorpusRef("prose", windows=windows, length=256), subject.tokenizer, subject.context)
    tokens = torch.from_numpy(corpus.tokens)
    items = [f"{letter}{layer}" for layer in _layers(subject.layers) for letter in "amb"]
    dense = DenseSide(subject, tokens)
    dense.batch(0, len(tokens))

    def probe() -> list[float]:
        return [fidelity.PROBE.run(subject, corpus, parse(item), NoParams(), dense=dense).kl for item in items]

    def passes() -> None:
        for i, window in enumerate(tokens):
            reference = Reference(dense.head, dense.states(i)[:-1], window[1:])
            for item in items:
                reference.measured([last_states(cut(subject, parse(item)), window[None])[0, :-1]])

    apart = np.abs(damage(subject, EMPTY, items, tokens, dense)[:, 1:, 0].mean(0) - probe()).max()
    if apart > 1e-5:
        raise RuntimeError(f"The scan and the fidelity probe disagree by {apart:.1e}; one of them is wrong.")
    times = in_turns(
        rounds,
        {
            "scan": lambda: damage(subject, EMPTY, items, tokens, dense),
            "fidelity of each": probe,
            "whole passes, comparison shared": passes,
        },
    )
    what = f"drop scan of {len(items)} drops"
    return [
        ratio(times, "scan", "fidelity of each", f"{what} ÷ fidelity of each", most=0.55),
        ratio(times, "scan", "whole passes, comparison shared", f"{what} ÷ whole passes, same comparison"),
    ]


def _layers(count: int) -> range:
    """Every sixth, as far from the first layer as from the last."""
    return range((count - 1) % _STEP // 2, count, _STEP)
