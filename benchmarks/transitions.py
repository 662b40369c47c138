"""The transitions probe: its time against a bare forward pass and the head's work that it cannot do without."""

from itertools import pairwise

import numpy as np
import torch

from benchmarks.timing import Line, in_turns, ratio
from models.subject import Subject
from plans.plan import Plan, parse
from probes.deviation.transitions import PROBE, TransitionsParams
from texts.corpus import CorpusRef, read_corpus


def speed(subject: Subject, windows: int, rounds: int, length: int = 512, every: int = 64) -> list[Line]:
    """All 2L sublayers on the last tokens and on all tokens, each against its floor.

    The floor is one bare forward pass over the same windows and 2L projections of the same tokens by the head. The probe
    makes twice as many, with and without the final norm, and compares. On all tokens it is measured on one window of
    ``every`` tokens.
    """
    corpus = read_corpus(CorpusRef("python-docs", windows=windows, length=length), subject.tokenizer, subject.context)
    short = read_corpus(CorpusRef("python-docs", windows=1, length=every), subject.tokenizer, subject.context)

    @torch.inference_mode()
    def floor(tokens: np.ndarray, last: bool) -> None:
        states = []
        for window in torch.from_numpy(tokens):
            out = subject.model(input_ids=window[None], use_cache=False, logits_to_keep=1, output_hidden_states=True)
            states.append(out.hidden_states[-1][0, -1:] if last else out.hidden_states[-1][0])
        for rows in [torch.cat(states)] if last else states:
            for _ in range(2 * subject.layers):
                subject.model.lm_head(rows)

    _same_numbers(subject)
    works = {
        "bare forward and 2L projections, last tokens": lambda: floor(corpus.tokens, True),
        "transitions, last tokens": lambda: PROBE.run(subject, corpus, Plan(), TransitionsParams()),
        "transitions with a plan, last tokens": lambda: PROBE.run(subject, corpus, parse("a3,a7,b20-21"), TransitionsParams()),
        "bare forward and 2L projections, all tokens": lambda: floor(short.tokens, False),
        "transitions, all tokens": lambda: PROBE.run(subject, short, Plan(), TransitionsParams(last=False)),
    }
    times = in_turns(rounds, works)
    last, all_tokens = (name for name in works if name.startswith("bare"))
    return [
        ratio(times, "transitions, last tokens", last, "transitions ÷ forward and 2L projections, last tokens", most=2.5),
        # No target: with and without the final norm are 4L + 2 projections already, and hardly anything else is left.
        ratio(times, "transitions, all tokens", all_tokens, "transitions ÷ forward and 2L projections, all tokens"),
        # The plan's own forward pass is a second one.
        ratio(times, "transitions with a plan, last tokens", last, "transitions with a plan ÷ the same, last tokens"),
    ]


@torch.inference_mode()
def _same_numbers(subject: Subject) -> None:
    """A comparison is fair only if the work is done: the dense cosines of the stream must be those of the model's states."""
    corpus = read_corpus(CorpusRef("python-docs", windows=1, length=64), subject.tokenizer, subject.context)
    ours = PROBE.run(subject, corpus, parse(f"b1-{subject.layers - 1}"), TransitionsParams()).cumulative.h_cosine[1:-1]
    out = subject.model(input_ids=torch.from_numpy(corpus.tokens), use_cache=False, output_hidden_states=True)
    states = [state[0, -1].double() for state in out.hidden_states[1:-1]]  # the last one is after the final norm
    theirs = [torch.cosine_similarity(states[0], state, dim=0).item() for state in states]
    apart = max(abs(a - b) for a, b in zip(ours, theirs, strict=True))
    if apart > 1e-5 or not any(abs(a - b) > 1e-3 for a, b in pairwise(ours)):
        raise RuntimeError(f"The probe's streams are {apart:.1e} away from the model's own; one of them is wrong.")
