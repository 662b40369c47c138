"""Similarity's score of each drop, for the one-shot choice that needs no pass without anything."""

from collections.abc import Sequence

import torch

from models.subject import Subject
from plans.plan import EMPTY
from probes.base import NoParams
from probes.redundancy import similarity
from probes.search.budget import LETTERS
from texts.corpus import Corpus, CorpusRef


def similarity_scores(subject: Subject, tokens: torch.Tensor, items: Sequence[str]) -> dict[str, float]:
    """1 − the mean cosine of the dense model's stream before and after each item: the lower, the more redundant.

    Parameters
    ----------
    tokens : int64 tensor of shape (windows, tokens)
    items : sequence of str
        Drops of one sublayer or block: ``a3``, ``m12``, ``b20``.
    """
    corpus = Corpus(CorpusRef(windows=len(tokens), length=tokens.shape[1]), tokens.cpu().numpy(), "")
    found = similarity.PROBE.run(subject, corpus, EMPTY, NoParams())
    cosines = {letter: getattr(found, part) for part, letter in LETTERS.items()}
    return {item: 1 - cosines[item[0]][int(item[1:])] for item in items}
