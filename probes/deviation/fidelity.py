"""What a plan does to predictions: dense and pruned model on the same tokens, teacher-forced.

Both read the same text and predict each next token, so a distance is a distance and not a difference of trajectories.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from measures.chunks import row_chunks
from measures.divergence import Comparison, Room
from measures.finite import FiniteCheck
from measures.likelihood import perplexity
from measures.sums import Means
from measures.vectors import cosine
from models.batching import batches, pass_bytes, step_text
from models.head import Head, last_states
from models.subject import Subject
from plans.cut import Calibrated, cut
from plans.plan import Plan
from probes.base import NoParams, Probe
from probes.deviation.dense import DenseSide
from probes.interim import Interim
from refusal import Progress, silent
from texts.corpus import Corpus

_PROJECTED = 2**25  # logits of one side that are there at a time: 128 MB
# Of them compared at a time: on a CPU 8 MB, which stay in its cache; a GPU would spend its time with beginning to work.
_COMPARED = {"cpu": 2**21, "cuda": 2**24}
TOP = 5


@dataclass(frozen=True)
class FidelityResult:
    """Means over all predicted tokens; in each window the first token is given and the others are predicted.

    Attributes
    ----------
    tokens : int
        Predicted tokens.
    perplexity, dense_perplexity : float
        exp of the mean negative log-likelihood in nats, every token the same weight.
    kl, reverse_kl : float
        KL(dense‖pruned) and KL(pruned‖dense) in nats per token.
    logit_cosine, prob_cosine : float
        Mean cosine of the logit vectors and of the probability vectors.
    top1_agreement, top5_agreement : float
        How often the most likely token is the same; mean share of the five most likely ones that both have.
    token_kl, token_nll, dense_token_nll : float32 arrays of shape (windows, tokens - 1)
        KL(dense‖pruned) and negative log-likelihoods in nats at each predicted token: where it hurts.
    pieces : list of list of str
        The text of each token, window by window.
    """

    tokens: int
    perplexity: float
    dense_perplexity: float
    kl: float
    reverse_kl: float
    logit_cosine: float
    prob_cosine: float
    top1_agreement: float
    top5_agreement: float
    token_kl: np.ndarray
    token_nll: np.ndarray
    dense_token_nll: np.ndarray
    pieces: list[list[str]]


def compare(pair: Tensor, targets: Tensor, room: Room | None = None, check: FiniteCheck | None = None) -> dict[str, Tensor]:
    """Measures of dense and pruned logits, (2, tokens, vocab), against the tokens that follow; one value per token.

    ``room`` has as many rows or more, and may be used again for the next tokens; ``check`` looks at the logits.
    """
    both = Comparison(pair, room or Room(*pair.shape[1:], pair.device), TOP)
    for name, values in zip(("dense", "pruned"), both.squares, strict=True):
        if check is not None:  # whatever is no number in the logits is none in their sum of squares
            check.look(f"The {name} model's logits", values)
    best, others = both.top
    return {
        "nll": both.nll(1, targets),
        "dense_nll": both.nll(0, targets),
        "kl": both.kl,
        "reverse_kl": both.reverse_kl,
        "logit_cosine": cosine(both.logit_product, *both.squares),
        "prob_cosine": cosine(both.weight_product, *both.weight_squares),  # a divisor does not change a direction
        "top1": (best[:, 0] == others[:, 0]).double(),
        "top5": (best[:, :, None] == others[:, None]).any(-1).double().mean(-1),
    }


class _Sums:
    """Means over tokens, and the columns of numbers that are shown token by token."""

    def __init__(self) -> None:
        self.means = Means()
        self.columns: dict[str, list[Tensor]] = {"kl": [], "nll": [], "dense_nll": []}

    def add(self, found: dict[str, Tensor]) -> None:
        """Add what `compare` found of some tokens."""
        self.means.add(**found)
        for name, values in self.columns.items():
            values.append(found[name].float())

    def read(self) -> dict[str, np.ndarray]:
        """The columns, each in one piece: float32 (tokens,)."""
        return {
            name: torch.cat([part.to(parts[-1].device) for part in parts]).cpu().numpy() for name, parts in self.columns.items()
        }

    def state(self) -> dict[str, Any]:
        """Both, for `restore`."""
        return {"means": self.means.state()} | self.read()

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self.means.restore(state["means"])
        self.columns = {name: [torch.from_numpy(state[name]).float()] for name in self.columns}


def _run(
    subject: Subject,
    corpus: Corpus,
    plan: Plan | Calibrated,
    params: NoParams,
    progress: Progress = silent,
    dense: DenseSide | None = None,
    interim: Interim | None = None,
) -> FidelityResult:
    tokens = torch.from_numpy(corpus.tokens).to(subject.device)
    dense, pruned = dense or DenseSide(subject, tokens), cut(subject, plan)
    interim, check = interim or Interim(), FiniteCheck()
    done, sums = interim.taken_up(_Sums)
    room = Room(max(1, _compared_at_once(dense.head) // dense.head.vocab), dense.head.vocab, dense.head.device)
    for begin, batch in batches(tokens, subject.device, pass_bytes(pruned, tokens.shape[1]), done=done):
        progress(begin, len(tokens), step_text(begin, len(batch), len(tokens)))
        both = dense.batch(begin, len(batch)), last_states(pruned, batch)
        states = (each[:, :-1].flatten(0, 1) for each in both)  # the last token of a window predicts none of it
        for rows in _rows(*states, batch[:, 1:].flatten().to(dense.head.device), dense.head.vocab):
            sums.add(_compared(dense.head, *rows, room, check))
        check.refuse()
        interim.keep(begin + len(batch), sums)
    columns = {name: each.reshape(len(tokens), -1) for name, each in sums.read().items()}
    mean = {name: float(sums.means.read(name)) for name in sums.means.names}
    return FidelityResult(
        tokens=int(tokens[:, 1:].numel()),
        perplexity=float(perplexity(mean["nll"])),
        dense_perplexity=float(perplexity(mean["dense_nll"])),
        top1_agreement=mean["top1"],
        top5_agreement=mean["top5"],
        **{name: mean[name] for name in ("kl", "reverse_kl", "logit_cosine", "prob_cosine")},
        token_kl=columns["kl"],
        token_nll=columns["nll"],
        dense_token_nll=columns["dense_nll"],
        pieces=[subject.tokenizer.batch_decode(row[:, None]) for row in corpus.tokens],
    )


def _rows(dense: Tensor, pruned: Tensor, targets: Tensor, vocab: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Positions in equal parts, so few at a time that their logits never fill the memory, however large the vocabulary."""
    count = -(-len(targets) * vocab // _PROJECTED)
    return zip(*(each.tensor_split(count) for each in (dense, pruned, targets)), strict=True)


def _compared(head: Head, dense: Tensor, pruned: Tensor, targets: Tensor, room: Room, check: FiniteCheck) -> dict[str, Tensor]:
    """`compare` from the states that the head reads, a few rows of logits at a time; ``check`` looks at the logits."""
    chunks = row_chunks(len(targets), head.vocab, _compared_at_once(head))
    dense, pruned = dense.to(head.device), pruned.to(head.device)
    # The head's weights are read once, and what is compared lies side by side.
    logits = head(torch.cat([each[rows] for rows in chunks for each in (dense, pruned)]), reuse=True)
    parts = [
        compare(logits[2 * rows.start : 2 * rows.stop].unflatten(0, (2, -1)), targets[rows], room, check) for rows in chunks
    ]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _compared_at_once(head: Head) -> int:
    return _COMPARED.get(head.device.type, _COMPARED["cpu"])


PROBE = Probe(
    "fidelity", "Perplexity and KL", 3, NoParams, FidelityResult, _run, takes_plan=True, dense_side=DenseSide, keeps_sums=True
)
