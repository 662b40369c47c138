"""How many dimensions the keys of each head really use, before and after rotation, and whether that holds on other text.

One pass over the corpus keeps running sums alone: tokens, Σk and Σkkᵀ per head, in float64. Everything follows from the
eigenvalues of the covariance.

References
----------
arXiv 2406.02542 (Loki), §3: principal components of keys. The reference prints the index at which the cumulative ratio
passes 0.9, one less than the number of dimensions; here the rank is the number.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from measures.covariance import Moments, components, eigenvalues, variances
from measures.spectra import effective_rank, lowest, mean_and_spread, participation_ratio, rank_at, ratios, subspace_overlap
from models.subject import Subject
from plans.plan import Plan
from probes.base import Probe
from probes.interim import Interim
from probes.keys.key_sums import KeySums, key_sums
from refusal import Progress, Refusal, silent
from texts.corpus import Corpus, read_corpus

LEVELS = (0.8, 0.9, 0.95, 0.99)


@dataclass(frozen=True)
class KeyRankParams:
    """What is asked.

    Attributes
    ----------
    level : float
        Share of the variance that the leading dimensions must explain, above 0 and at most 1.
    other : str
        Name of a second corpus to compare the leading subspaces with; empty: the two halves of the corpus itself.
    """

    level: float = 0.9
    other: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.level <= 1:
            raise Refusal(f"A level of {self.level} is not a share of the variance. Write a number above 0 and at most 1.")


@dataclass(frozen=True)
class WithoutFirst:
    """Keys after rotation, position 0 of each window left out: its key is often huge (a sink).

    Attributes
    ----------
    rank : list of list of int, layers × heads
        At ``level``.
    spectra : float64 array of shape (layers, heads, head_dim)
    mean, spread : float
        Over layers, as ``mean_post`` and ``spread_post``.
    """

    rank: list[list[int]]
    spectra: np.ndarray
    mean: float
    spread: float


@dataclass(frozen=True)
class KeyRankResult:
    """What the probe found. "pre" are keys without rotation, "post" keys as attention sees them.

    Attributes
    ----------
    layers, heads, query_heads, head_dim, value_dim, tokens : int
        ``heads`` are key-value heads; ``value_dim`` is the head dimension of the values; ``tokens`` keys per head.
    level : float
        As asked.
    rotary : list of bool
        Per layer: its keys are rotated by position. Where not, pre and post are the same.
    rank_pre, rank_post, rank_value, rank_query : list of list of int, layers × heads (queries: × query heads)
        Fewest leading dimensions that explain ``level`` of the variance; 0: the keys do not vary. Queries are post.
    ranks_pre, ranks_post : int64 arrays of shape (4, layers, heads)
        The same at 80, 90, 95 and 99 %.
    variance_pre, variance_post, variance_value : float64 arrays of shape (layers, heads)
        Sum of the eigenvalues of the covariance; times the spectra it gives the eigenvalues.
    spectra_pre, spectra_post, spectra_value : float64 arrays of shape (layers, heads, head_dim)
        Explained-variance ratios, falling; they sum to 1, or to 0 where nothing varies.
    effective_rank_*, participation_* : float64 arrays of shape (layers, heads)
        exp(entropy of the ratios), and 1/Σ ratio².
    rank_post_uncentred : list of list of int
        From the second moment, the mean left in.
    without_first : WithoutFirst
    mean_*, spread_* : float
        Mean and standard deviation over layers of the mean rank over heads.
    lowest_pre, lowest_post : list of int
        Layers by mean rank over heads, lowest first; ties by index.
    limited : bool
        There are no more tokens than dimensions, so the ranks tell of the tokens.
    overlap_pre, overlap_post : list of float
        Per layer: mean squared cosine of the principal angles between the leading subspaces (as many dimensions as the rank)
        on the two texts, mean over heads. 1: the same subspace.
    chance_pre, chance_post : list of float
        What two random subspaces would give: rank / head_dim, mean over heads.
    compared : str
        ``halves`` of the text, ``halves of one window`` (so at other positions too), or two ``texts``; not what they are
        called, as one text may have several names.
    overlap_limited : bool
        One of the two texts has no more tokens than dimensions.
    """

    layers: int
    heads: int
    query_heads: int
    head_dim: int
    value_dim: int
    tokens: int
    level: float
    rotary: list[bool]
    rank_pre: list[list[int]]
    rank_post: list[list[int]]
    rank_value: list[list[int]]
    rank_query: list[list[int]]
    ranks_pre: np.ndarray
    ranks_post: np.ndarray
    variance_pre: np.ndarray
    variance_post: np.ndarray
    variance_value: np.ndarray
    spectra_pre: np.ndarray
    spectra_post: np.ndarray
    spectra_value: np.ndarray
    effective_rank_pre: np.ndarray
    effective_rank_post: np.ndarray
    effective_rank_value: np.ndarray
    effective_rank_query: np.ndarray
    participation_pre: np.ndarray
    participation_post: np.ndarray
    participation_value: np.ndarray
    participation_query: np.ndarray
    rank_post_uncentred: list[list[int]]
    without_first: WithoutFirst
    mean_pre: float
    mean_post: float
    mean_value: float
    mean_query: float
    spread_pre: float
    spread_post: float
    spread_value: float
    spread_query: float
    lowest_pre: list[int]
    lowest_post: list[int]
    limited: bool
    overlap_pre: list[float]
    overlap_post: list[float]
    chance_pre: list[float]
    chance_post: list[float]
    compared: str
    overlap_limited: bool


def _run(
    subject: Subject,
    corpus: Corpus,
    plan: Plan,
    params: KeyRankParams,
    progress: Progress = silent,
    interim: Interim | None = None,
) -> KeyRankResult:
    """Measure a subject on a corpus; ``plan`` is not looked at, the model is dense."""
    other = None
    if params.other:
        if params.other == corpus.ref.name:
            raise Refusal(f"Both texts are {params.other}. Name another one, or none to compare the halves of this one.")
        other = read_corpus(replace(corpus.ref, name=params.other), subject.tokenizer, subject.context)
    total = len(corpus.tokens) + (len(other.tokens) if other else 0)
    sums = key_sums(subject, corpus, lambda i, text: progress(i, total, text), interim)
    if other is None:
        one, two = ({name: halves[i] for name, halves in sums.halves.items()} for i in (0, 1))
        compared = "halves" if len(corpus.tokens) > 1 else "halves of one window"
    else:
        one, before = sums.kinds, len(corpus.tokens)
        two = key_sums(subject, other, lambda i, text: progress(before + i, total, text), interim, "other text, ").kinds
        compared = "texts"
    return result_of(sums, one, two, params.level, compared, lambda: progress(total, total, "eigenvalues"))


def result_of(sums: KeySums, one: dict, two: dict, level: float, compared: str, begins: Callable[[], None]) -> KeyRankResult:
    """Everything that follows from the sums; those over the two texts to compare are ``one`` and ``two``.

    ``begins`` is called before the eigenvalues of each layer.
    """
    spectra = {name: _spectra(kind, begins) for name, kind in sums.kinds.items() if name != "first"}
    rest = {layer: seen - sums.kinds["first"][layer] for layer, seen in sums.kinds["post"].items()}
    without, uncentred = _spectra(rest, begins), _spectra(sums.kinds["post"], begins, Moments.second_moment)
    ranks = {name: rank_at(shares, level) for name, shares in spectra.items()}
    means = {name: rank.double().mean(-1) for name, rank in ranks.items()}  # per layer
    layers, heads, head_dim = spectra["post"].shape
    least = min(seen.count for text in (one, two) for seen in text["post"].values())
    rest_means = rank_at(without, level).double().mean(-1)
    return KeyRankResult(
        layers=layers,
        heads=heads,
        query_heads=spectra["query"].shape[1],
        head_dim=head_dim,
        value_dim=spectra["value"].shape[-1],
        tokens=sums.seen,
        level=level,
        rotary=[sums.rotary[layer] for layer in sorted(sums.rotary)],
        **{f"rank_{name}": rank.tolist() for name, rank in ranks.items()},
        **{f"ranks_{name}": torch.stack([rank_at(spectra[name], at) for at in LEVELS]).numpy() for name in ("pre", "post")},
        **{f"variance_{name}": variances(sums.kinds[name]).numpy() for name in ("pre", "post", "value")},
        **{f"spectra_{name}": spectra[name].numpy() for name in ("pre", "post", "value")},
        **{f"effective_rank_{name}": effective_rank(shares).numpy() for name, shares in spectra.items()},
        **{f"participation_{name}": participation_ratio(shares).numpy() for name, shares in spectra.items()},
        rank_post_uncentred=rank_at(uncentred, level).tolist(),
        without_first=WithoutFirst(rank_at(without, level).tolist(), without.numpy(), *mean_and_spread(rest_means)),
        **{f"mean_{name}": mean_and_spread(mean)[0] for name, mean in means.items()},
        **{f"spread_{name}": mean_and_spread(mean)[1] for name, mean in means.items()},
        **{f"lowest_{name}": lowest(means[name].tolist()) for name in ("pre", "post")},
        limited=sums.seen <= head_dim,
        **{f"overlap_{name}": _overlap(one[name], two[name], ranks[name]) for name in ("pre", "post")},
        **{f"chance_{name}": (means[name] / head_dim).tolist() for name in ("pre", "post")},
        compared=compared,
        overlap_limited=least <= head_dim,
    )


def _spectra(
    kind: dict[int, Moments], begins: Callable[[], None], matrix: Callable[[Moments], Tensor] = Moments.covariance
) -> Tensor:
    """Explained-variance ratios of each layer and head: (layers, heads, width)."""
    shares = []
    for layer in sorted(kind):
        begins()
        shares.append(ratios(eigenvalues(matrix(kind[layer]))))
    return torch.stack(shares)


def _overlap(one: dict[int, Moments], two: dict[int, Moments], ranks: Tensor) -> list[float]:
    """Per layer, mean over heads."""
    pairs = ((components(one[layer].covariance()), components(two[layer].covariance())) for layer in sorted(one))
    return [subspace_overlap(*pair, rank).mean().item() for pair, rank in zip(pairs, ranks, strict=True)]


PROBE = Probe(
    "key_rank", "Key rank", 4, KeyRankParams, KeyRankResult, _run, takes_plan=False, texts=("other",), keeps_sums=True
)
