"""Choosing keys on a view: what it costs to try. It saves nothing here, because keys are masked and not left out."""

import torch
from torch import Tensor

from benchmarks.timing import Line, in_turns, ratio
from models.attention import Attend, attend_by
from models.keys import key_basis
from models.subject import Subject
from plans.cut import cut
from plans.keys.choice import switch_on
from texts.corpus import CorpusRef, read_corpus


def forward(subject: Subject, length: int, rounds: int) -> list[Line]:
    """One forward pass over a window with a quarter of the keys chosen in a quarter of the dimensions, against eager attention.

    The dense pass goes through the family's own eager attention as well, which the rule builds on; there is no target, since
    nobody runs this for speed.
    """
    tokens = torch.from_numpy(
        read_corpus(CorpusRef("python-docs", windows=1, length=length), subject.tokenizer, subject.context).tokens
    )
    basis = key_basis(cut(subject), tokens)
    eager, chosen, exact = (cut(subject) for _ in range(3))
    attend_by(eager, dict.fromkeys(eager.attentions, _unchanged))
    switch_on(chosen, basis, 0.25, 0.25)
    switch_on(exact, basis, 1, 0.25, "exact")
    times = in_turns(
        rounds,
        {
            "eager attention": lambda: eager.logits(tokens, last=True),
            "low-rank attention, k:0.25/0.25": lambda: chosen.logits(tokens, last=True),
            "exact top keys, 0.25": lambda: exact.logits(tokens, last=True),
        },
    )
    return [
        ratio(times, "low-rank attention, k:0.25/0.25", "eager attention"),
        ratio(times, "exact top keys, 0.25", "eager attention"),
    ]


def _unchanged(attend: Attend, *tensors: Tensor) -> tuple[Tensor, Tensor]:
    return attend(*tensors)
