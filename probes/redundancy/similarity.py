"""How little each attention, MLP and block rotates the residual stream, and which ones are therefore redundant.

One pass. For every token and layer only the products of h (what goes in), a (what attention adds) and m (what the MLP adds)
are needed: every cosine and norm of the sublayers follows from these six numbers, in float64.

References
----------
arXiv 2406.15786 (attention, MLP, joint), 2403.03853 (block influence), 2403.17887 (angular distance, spans),
2505.13898 (relative contributions).
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from measures.precision import float64_device
from measures.sums import Means
from models.batching import batches, step_text
from models.stream import gap, refuse_gap, watch
from models.subject import Subject
from plans.cut import cut
from plans.plan import Plan
from probes.base import NoParams, Probe
from probes.interim import Interim
from probes.redundancy.ranking import best_spans, joint_order, order
from probes.redundancy.stream_sums import StreamSums
from refusal import Progress, silent
from texts.corpus import Corpus

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Summary:
    """Means over tokens. Lists have one value per layer; matrices are (layers+1, layers+1), state l enters layer l.

    Attributes
    ----------
    attention, mlp, block : list of float
        Mean cosine of the residual stream before and after.
    attention_norm, mlp_norm, block_norm : list of float
        Mean length of what is added over the length of what it is added to.
    attention_turn, mlp_turn, block_turn : list of float
        Mean cosine of what is added with what it is added to: below 0 erases, 0 is new, above 0 strengthens.
    cosine, angular : float64 arrays
        Mean cosine and mean angular distance (0 to 1) between states; the last one is before the final norm.
    """

    attention: list[float]
    mlp: list[float]
    block: list[float]
    attention_norm: list[float]
    mlp_norm: list[float]
    block_norm: list[float]
    attention_turn: list[float]
    mlp_turn: list[float]
    block_turn: list[float]
    cosine: np.ndarray
    angular: np.ndarray


@dataclass(frozen=True)
class SimilarityResult:
    """Everything the probe found; the fields of `Summary` over all positions, and again without position 0.

    Attributes
    ----------
    layers, tokens : int
        Layers of the model; positions averaged over.
    angular_last : float64 array
        As ``angular``, on the last token of each window only (arXiv 2403.17887).
    attention_spread, mlp_spread, block_spread : float64 arrays of shape (layers, 5)
        Quantiles 5, 25, 50, 75 and 95 % of the cosine over tokens.
    attention_order, mlp_order, block_order : list of int
        Layers, most redundant first; ties by index.
    joint_order : list of str
        Attention and MLP sublayers in one ranking, as items of a plan.
    spans : list of dict
        For each length n the best consecutive blocks: ``length, start, stop`` (first layer after), ``cosine, angular``
        and the ``plan``.
    without_first : Summary
        The same means without position 0, whose huge activations hardly change direction.
    """

    layers: int
    tokens: int
    attention: list[float]
    mlp: list[float]
    block: list[float]
    attention_norm: list[float]
    mlp_norm: list[float]
    block_norm: list[float]
    attention_turn: list[float]
    mlp_turn: list[float]
    block_turn: list[float]
    cosine: np.ndarray
    angular: np.ndarray
    angular_last: np.ndarray
    attention_spread: np.ndarray
    mlp_spread: np.ndarray
    block_spread: np.ndarray
    attention_order: list[int]
    mlp_order: list[int]
    block_order: list[int]
    joint_order: list[str]
    spans: list[dict]
    without_first: Summary


_LISTS = [f"{part}{kind}" for kind in ("", "_norm", "_turn") for part in ("attention", "mlp", "block")]


def _run(
    subject: Subject,
    corpus: Corpus,
    plan: Plan,
    params: NoParams,
    progress: Progress = silent,
    interim: Interim | None = None,
) -> SimilarityResult:
    """Measure a subject on a corpus; ``plan`` is not looked at, the model is dense."""
    tokens = torch.from_numpy(corpus.tokens).to(subject.device)
    view, interim = cut(subject), interim or Interim()
    device, parallel = float64_device(subject.device), subject.family.parallel
    done, sums = interim.taken_up(lambda: StreamSums(subject.layers, device, parallel))
    states: list[Tensor] = []
    products: list[Tensor] = []
    gaps: list[Tensor] = []

    def visit(place: int, *parts: Tensor) -> None:
        if len(gaps) < subject.layers:  # the first batch proves that the family is understood
            gaps.append(gap(*parts))
        before, attention, mlp, after = (_flat(part) for part in parts)
        states.extend((before, after) if place == 0 else (after,))
        products.append(sums.products(before, attention, mlp))

    watch(view, visit)
    length, kept = tokens.shape[1], (subject.layers + 1) * subject.width * subject.dtype.itemsize
    for begin, batch in batches(tokens, subject.device, length * kept, done=done):
        progress(begin, len(tokens), step_text(begin, len(batch), len(tokens)))
        view.logits(batch, last=True)
        if begin == done:
            refuse_gap(view, gaps)
        for first in range(0, len(batch) * length, length):
            rows = slice(first, first + length)
            sums.add([each[rows] for each in states], [each[rows] for each in products])
        sums.check.refuse()
        states.clear()
        products.clear()
        interim.keep(begin + len(batch), sums)
    return _result(sums, subject.layers, corpus.tokens.size)


def _flat(states: Tensor) -> Tensor:
    """(windows, tokens, width) → (windows · tokens, width) where float64 works. Offloaded models spread blocks over devices."""
    return states.flatten(0, 1).to(float64_device(states.device))


def _summary(sums: StreamSums, without: Means | None = None) -> dict:
    lists = {name: sums.all.read(name, without).tolist() for name in _LISTS}
    return lists | {name: sums.all.read(name, without).numpy() for name in ("cosine", "angular")}


def _result(sums: StreamSums, layers: int, tokens: int) -> SimilarityResult:
    means = _summary(sums)
    return SimilarityResult(
        layers=layers,
        tokens=tokens,
        **means,
        angular_last=sums.last.read("angular").numpy(),
        **{f"{part}_spread": spread.read(LEVELS).numpy() for part, spread in sums.spreads.items()},
        **{f"{part}_order": order(means[part]) for part in sums.spreads},
        joint_order=joint_order(means["attention"], means["mlp"]),
        spans=best_spans(means["cosine"], means["angular"]),
        without_first=Summary(**_summary(sums, sums.first)),
    )


PROBE = Probe("similarity", "Layer similarity", 1, NoParams, SimilarityResult, _run, takes_plan=False, keeps_sums=True)
