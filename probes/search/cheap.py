"""Scores of each drop that need no pass without anything, for the one-shot choices."""

from collections.abc import Sequence

import numpy as np
import torch

from models.prefix import Prefix
from models.subject import Subject
from plans.cut import cut
from plans.drops import BY_LETTER
from plans.plan import EMPTY
from probes.base import NoParams
from probes.redundancy import similarity
from probes.scan.scores import PARTS, SCORES, Loss, window_scores
from refusal import Progress
from texts.corpus import Corpus, CorpusRef

# Forward passes that a window costs. With gradients every block is computed once more and then differentiated, which takes as
# long as computing it twice.
PASSES = {"similarity": 1.0, "length": 1.0, "gradient": 4.0, "gradient_size": 4.0}


def cheap_scores(
    subject: Subject, tokens: torch.Tensor, items: Sequence[str], names: Sequence[str], progress: Progress
) -> dict[str, dict[str, float]]:
    """Scores by name and item, on the dense model: the lower, the sooner an item is dropped.

    Parameters
    ----------
    tokens : int64 tensor of shape (windows, tokens)
    items : sequence of str
        Drops of one sublayer or block: ``a3``, ``m12``, ``b20``.
    names : sequence of str
        Of `PASSES`; others are left out.
    """
    found = {"similarity": _similarity(subject, tokens, items)} if "similarity" in names else {}
    differentiated = [name for name in names if name in PASSES and name != "similarity"]
    if differentiated:
        table = _table(subject, tokens, progress)
        places = {item: (PARTS.index(BY_LETTER[item[0]]), int(item[1:])) for item in items}
        for name in differentiated:
            row = table[SCORES.index(name)]
            found[name] = {item: float(row[place]) for item, place in places.items()}
    return found


def _table(subject: Subject, tokens: torch.Tensor, progress: Progress) -> np.ndarray:
    """Means over windows, float64 (4, 3, layers): `SCORES`, `PARTS`, layers."""
    prefix, loss, rows = Prefix(cut(subject)), Loss(subject), []
    for i, window in enumerate(tokens):
        progress(i, len(tokens), "gradients")
        prefix.read(window)
        rows.append(window_scores(prefix, loss, window[1:]))
    return np.mean(rows, axis=0)


def _similarity(subject: Subject, tokens: torch.Tensor, items: Sequence[str]) -> dict[str, float]:
    """1 − the mean cosine of the dense model's stream before and after each item."""
    corpus = Corpus(CorpusRef(windows=len(tokens), length=tokens.shape[1]), tokens.cpu().numpy(), "")
    found = similarity.PROBE.run(subject, corpus, EMPTY, NoParams())
    return {item: 1 - getattr(found, BY_LETTER[item[0]])[int(item[1:])] for item in items}
