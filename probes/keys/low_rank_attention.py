"""Loki's attention tried live: which keys the leading dimensions choose, and what that costs in predictions.

Keys lie near a subspace of few dimensions, so scores in its first directions may be enough to tell which keys matter (Loki,
arXiv 2406.02542). The rule is put on a private view of the model, see `plans.keys.choice`; here it is measured: which keys it
finds against the best ones, how much softmax mass they carry, how far the attention's output moves, and what becomes of
perplexity, over a grid of dimensions and keys.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from torch import Tensor

from measures.chunks import row_chunks
from measures.divergence import kl
from measures.finite import FiniteCheck
from measures.fronts import pareto_front
from measures.likelihood import perplexity
from measures.sums import Means
from models.attention import attend_by, replaceable
from models.batching import batches, pass_bytes, step_text
from models.keys import key_basis
from models.subject import Subject
from models.view import View
from plans.cut import cut
from plans.keys.choice import switch_on
from plans.keys.shares import shares
from plans.plan import Plan
from probes.base import Probe
from probes.keys.attention_cost import paper_ratio, read_ratio
from probes.keys.key_agreement import Agreement
from refusal import Progress, silent
from texts.corpus import Corpus, CorpusRef, read_corpus, text_digest

_CHUNK = {"cpu": 2**20, "cuda": 2**24}  # logits compared at a time: on a CPU so many that they stay in its cache
# A model to try: how keys are chosen, its place in the arrays, and its shares of dimensions and keys
Variant = tuple[str, tuple[int, ...], float, float]


@dataclass(frozen=True)
class LowRankParams:
    """What is tried.

    Attributes
    ----------
    dims, top : str
        Shares with commas between, each above 0 and at most 1: of the head dimension that keys are scored in, and of the
        visible keys that are attended to.
    calibrate : str
        Name of the text whose keys give the directions; empty: the windows that follow the measured ones.
    baselines : bool
        Also try other ways to choose keys.
    seed : int
        Of the baseline that chooses at random.
    whole : bool
        Count keys as Loki's own code does, see `plans.keys.choice.switch_on`.
    """

    dims: str = "0.5,0.25,0.125"
    top: str = "0.5,0.25,0.125"
    calibrate: str = ""
    baselines: bool = True
    seed: int = 0
    whole: bool = False


@dataclass(frozen=True)
class LowRankResult:
    """Low-rank attention against dense attention, over shares of dimensions (``dims``) and of keys (``top``).

    Arrays per layer are measured inside the dense model; the others come from models that compute all of their attentions so.

    Attributes
    ----------
    dims, top : list of float
        The grid, in the order asked for.
    layers : list of int
        Layer index of each attention.
    heads, kv_heads, head_dim : list of int
        Shape of each attention, in the order of ``layers``.
    tokens, calibration_tokens : int
        Predicted tokens, and tokens whose keys gave the directions.
    calibrated_on : str
        Which windows of which text these are; not what it is called, as one text may have several names.
    recall, jaccard : float64 arrays of shape (layers, dims, top)
        |A ∩ B| / k and |A ∩ B| / |A ∪ B| of the chosen keys and the k keys with the highest exact scores.
    mass : float64 array of shape (layers, dims, top)
        Share of the dense softmax that falls on the chosen keys.
    mass_exact : float64 array of shape (layers, top)
        The same of the keys with the highest exact scores: no choice of k keys carries more.
    error : float64 array of shape (layers, dims, top)
        ‖o − ô‖ / ‖o‖ of the attention's output before its last projection, all heads together.
    overall : dict of str to float64 array
        ``recall, jaccard, mass, error`` of shape (dims, top) and ``mass_exact`` of shape (top,): means over layers.
    dense_perplexity : float
        exp of the mean negative log-likelihood in nats.
    perplexity, kl : float64 arrays of shape (dims, top)
        Of the model with this attention; KL(dense‖this) in nats per token.
    baseline_perplexity, baseline_kl : dict of str to float64 array
        ``exact`` (the highest exact scores), ``random`` and ``last`` (the most recent keys), each of shape (top,), and ``pca``
        (softmax over the low-rank scores of all keys) of shape (dims,). Empty without baselines.
    cost : float64 array of shape (dims, top)
        `probes.keys.attention_cost.read_ratio`: bytes read from the cache over those of dense attention, an estimate.
    paper_cost : float64 array of shape (dims, top)
        `probes.keys.attention_cost.paper_ratio`, which knows no heads that share keys.
    front : list of [int, int]
        Places (dims, top) of the Pareto front of cost and perplexity, see `measures.fronts`.
    """

    dims: list[float]
    top: list[float]
    layers: list[int]
    heads: list[int]
    kv_heads: list[int]
    head_dim: list[int]
    tokens: int
    calibration_tokens: int
    calibrated_on: str
    recall: np.ndarray
    jaccard: np.ndarray
    mass: np.ndarray
    mass_exact: np.ndarray
    error: np.ndarray
    overall: dict[str, np.ndarray]
    dense_perplexity: float
    perplexity: np.ndarray
    kl: np.ndarray
    baseline_perplexity: dict[str, np.ndarray]
    baseline_kl: dict[str, np.ndarray]
    cost: np.ndarray
    paper_cost: np.ndarray
    front: list[list[int]]


def calibration_text(measured: CorpusRef, name: str) -> CorpusRef:
    """The windows whose keys give the directions: of the measured text those that follow, so that no token is in both."""
    if not name or name == measured.name or text_digest(name) == text_digest(measured.name):
        return measured.following
    return CorpusRef(name, measured.windows, measured.length, measured.bos)


def _run(subject: Subject, corpus: Corpus, plan: Plan, params: LowRankParams, progress: Progress = silent) -> LowRankResult:
    dims, top = shares(params.dims, "dimensions"), shares(params.top, "keys")
    view = cut(subject)
    layers = list(replaceable(view))
    ref = calibration_text(corpus.ref, params.calibrate)
    learned = read_corpus(ref, subject.tokenizer, subject.context).tokens
    variants = _variants(dims, top, params.baselines)
    steps = len(learned) + len(corpus.tokens) * (1 + len(variants))
    watched = cut(subject)
    basis = key_basis(watched, torch.from_numpy(learned), lambda done, _, text: progress(done, steps, text))
    agreements = {layer: Agreement(dims, top, basis[layer], params.whole) for layer in layers}
    means: dict[Variant | None, Means] = {variant: Means() for variant in (None, *variants)}
    done = len(learned)
    attend_by(view, agreements)
    check = FiniteCheck()
    for begin, batch in batches(
        torch.from_numpy(corpus.tokens).to(subject.device), subject.device, _window_bytes(view, corpus)
    ):
        text, targets = step_text(begin, len(batch), len(corpus.tokens)), batch[:, 1:].flatten()
        progress(done, steps, f"{text}, dense")
        attend_by(view, agreements)
        log_p = _logits(view, batch, "dense", check).log_softmax(-1)
        means[None].add(nll=_nll(log_p, targets))
        seeds = [(params.seed + begin + i) % 2**63 for i in range(len(batch))]
        for number, variant in enumerate(variants, start=1):
            method, _, share, keys = variant
            progress(done + number * len(batch), steps, f"{text}, {method} {share:g}/{keys:g}")
            switch_on(view, basis, share, keys, method, seeds=seeds, whole=params.whole)
            _compare(means[variant], log_p, _logits(view, batch, method, check), targets)
        check.refuse()
        done += len(batch) * (1 + len(variants))
    text = "the measured text" if ref.name == corpus.ref.name else "another text"
    calibrated_on = f"windows {ref.skip} to {ref.skip + len(learned) - 1} of {text}"
    return _result(dims, top, agreements, means, (corpus.tokens[:, 1:].size, learned.size, calibrated_on))


def _variants(dims: list[float], top: list[float], baselines: bool) -> list[Variant]:
    grid = product(enumerate(dims), enumerate(top))
    variants: list[Variant] = [("loki", (i, j), share, keys) for (i, share), (j, keys) in grid]
    if baselines:
        variants += [(method, (j,), 1.0, keys) for method in ("exact", "random", "last") for j, keys in enumerate(top)]
        variants += [("pca", (i,), share, 1.0) for i, share in enumerate(dims)]
    return variants


def _window_bytes(view: View, corpus: Corpus) -> int:
    """Memory that a window takes: its pass, and logits of the dense and of another model with their log-probabilities."""
    length = corpus.tokens.shape[1]
    return pass_bytes(view, length) + 16 * length * view.head.weight.shape[0]


def _logits(view: View, batch: Tensor, name: str, check: FiniteCheck) -> Tensor:
    """Float32 logits of shape (windows · (tokens - 1), vocab) that predict the tokens of each window but the first."""
    logits = view.logits(batch)[:, :-1].flatten(0, 1).float()
    check.look(f"The model's logits with {name} attention", logits)
    return logits


def _nll(log_p: Tensor, targets: Tensor) -> Tensor:
    return -log_p.gather(-1, targets[:, None].to(log_p.device))[:, 0]


def _compare(means: Means, log_p: Tensor, logits: Tensor, targets: Tensor) -> None:
    """Negative log-likelihood and KL(dense‖this) of every predicted token, a few rows at a time."""
    for rows in row_chunks(*logits.shape, _CHUNK.get(logits.device.type, _CHUNK["cpu"])):
        log_q = logits[rows].log_softmax(-1)
        means.add(nll=_nll(log_q, targets[rows]), kl=kl(log_p[rows], log_q))


def _result(
    dims: list[float],
    top: list[float],
    agreements: dict[int, Agreement],
    means: dict[Variant | None, Means],
    texts: tuple[int, int, str],
) -> LowRankResult:
    """The result; ``texts`` are its fields ``tokens``, ``calibration_tokens`` and ``calibrated_on``."""
    shapes = dict.fromkeys(("exact", "random", "last"), (len(top),)) | {"loki": (len(dims), len(top)), "pca": (len(dims),)}
    methods = {variant[0]: shapes[variant[0]] for variant in means if variant}
    nll, divergence = ({method: np.empty(shape) for method, shape in methods.items()} for _ in range(2))
    for variant, seen in means.items():
        if variant:
            nll[variant[0]][variant[1]] = seen.read("nll")
            divergence[variant[0]][variant[1]] = seen.read("kl")
    perplexities = {method: perplexity(values) for method, values in nll.items()}
    names = ("recall", "jaccard", "mass", "mass_exact", "error")
    layered = {name: torch.stack([each.read(name) for each in agreements.values()]).numpy() for name in names}
    heads, kv_heads, head_dim = (list(each) for each in zip(*(each.shape for each in agreements.values()), strict=True))
    cost = np.array([[read_ratio(share, keys, heads, kv_heads, head_dim) for keys in top] for share in dims])
    paper = np.array([[paper_ratio(share, keys) for keys in top] for share in dims])
    return LowRankResult(
        dims, top, list(agreements), heads, kv_heads, head_dim, *texts,
        **layered, overall={name: values.mean(0) for name, values in layered.items()},
        dense_perplexity=float(perplexity(means[None].read("nll").numpy())),
        cost=cost, paper_cost=paper, front=np.argwhere(pareto_front(cost, perplexities["loki"])).tolist(),
        perplexity=perplexities.pop("loki"), kl=divergence.pop("loki"),
        baseline_perplexity=perplexities, baseline_kl=divergence,
    )  # fmt: skip


PROBE = Probe("low_rank_attention", "Low-rank attention", 4, LowRankParams, LowRankResult, _run, False, texts=("calibrate",))
