"""Results of random walks instead of models: small, but every number is really computed from states."""

import math
from functools import cache

import numpy as np
import plotly.graph_objects as go

from plans.plan import Plan, parse
from probes.deviation.fidelity import FidelityResult
from probes.redundancy.similarity import LEVELS, SimilarityResult, Summary, best_spans


def _cosine(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x * y).sum(-1) / np.linalg.norm(x, axis=-1) / np.linalg.norm(y, axis=-1)


@cache
def similar(layers: int, tokens: int = 60, width: int = 16) -> SimilarityResult:
    """What the similarity probe would say of a stream that each layer pushes a little, the first one hard."""
    random = np.random.default_rng(layers)
    fading = 1 / np.arange(1, layers + 1)[:, None, None]
    a, m = (scale * fading * random.normal(size=(layers, tokens, width)) for scale in (0.4, 1.0))
    h = np.concatenate([random.normal(size=(1, tokens, width)), a + m]).cumsum(0)
    before, middle, after = h[:-1], h[:-1] + a, h[1:]
    steps = {"attention": (before, a, middle), "mlp": (middle, m, after), "block": (before, a + m, after)}
    values = {}
    for kind, (x, c, y) in steps.items():
        values[kind], values[f"{kind}_turn"] = _cosine(x, y), _cosine(c, x)
        values[f"{kind}_norm"] = np.linalg.norm(c, axis=-1) / np.linalg.norm(x, axis=-1)
    cosines = np.clip(_cosine(h[:, None], h[None]), -1, 1)
    angles = np.arccos(cosines) / math.pi

    def means(part: slice) -> dict:
        lists = {name: value[:, part].mean(-1).tolist() for name, value in values.items()}
        return lists | {"cosine": cosines[..., part].mean(-1), "angular": angles[..., part].mean(-1)}

    over_all = means(slice(None))
    orders = {f"{kind}_order": np.argsort(-np.array(over_all[kind]), kind="stable").tolist() for kind in steps}
    items = {f"{kind[0]}{i}": over_all[kind][i] for kind in ("attention", "mlp") for i in range(layers)}
    return SimilarityResult(
        layers=layers,
        tokens=tokens,
        **over_all,
        angular_last=angles[..., -1],
        **{f"{kind}_spread": np.quantile(values[kind], LEVELS, axis=-1).T for kind in steps},
        **orders,
        joint_order=sorted(items, key=lambda item: -items[item]),
        spans=best_spans(over_all["cosine"], over_all["angular"]),
        without_first=Summary(**means(slice(1, None))),
    )


@cache
def faithful(windows: int = 2, tokens: int = 40, vocab: int = 20) -> FidelityResult:
    """What the fidelity probe would say of random logits and a disturbed copy of them."""
    random = np.random.default_rng(7)
    dense = random.normal(size=(windows, tokens - 1, vocab))
    pruned = dense + random.normal(size=dense.shape)
    log_p, log_q = (x - np.log(np.exp(x).sum(-1, keepdims=True)) for x in (dense, pruned))
    targets = random.integers(vocab, size=(windows, tokens - 1, 1))
    nll, dense_nll = (-np.take_along_axis(x, targets, -1)[..., 0].astype("float32") for x in (log_q, log_p))
    kl, reverse = (np.exp(log_p) * (log_p - log_q)).sum(-1), (np.exp(log_q) * (log_q - log_p)).sum(-1)
    return FidelityResult(
        tokens=nll.size,
        perplexity=float(np.exp(nll.mean())),
        dense_perplexity=float(np.exp(dense_nll.mean())),
        kl=float(kl.mean()),
        reverse_kl=float(reverse.mean()),
        logit_cosine=float(_cosine(dense, pruned).mean()),
        prob_cosine=float(_cosine(np.exp(log_p), np.exp(log_q)).mean()),
        top1_agreement=float((dense.argmax(-1) == pruned.argmax(-1)).mean()),
        top5_agreement=0.5,
        token_kl=kl.astype("float32"),
        token_nll=nll,
        dense_token_nll=dense_nll,
        pieces=[[f" w{i}" for i in range(tokens)] for _ in range(windows)],
    )


def clickable(figure: go.Figure) -> list[tuple[Plan, go.Figure, int]]:
    """Plan, trace and index of every point that a click can reach."""
    return [
        (parse(row[0]), trace, i)
        for trace in figure.data
        if trace.hoverinfo != "skip" and trace.customdata is not None
        for i, row in enumerate(trace.customdata)
    ]


def axes(figure: go.Figure) -> list:
    """All axes of a figure, x and y."""
    return [*figure.select_xaxes(), *figure.select_yaxes()]
