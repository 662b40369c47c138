"""Results for random keys instead of a model's: small, but every number on ranks and choices is really computed."""

from functools import cache

import numpy as np

from probes.keys.key_rank import LEVELS, KeyRankResult, WithoutFirst
from probes.keys.low_rank_attention import LowRankResult

_TOKENS = 100


def _counted(ratios: np.ndarray, level: float) -> np.ndarray:
    """Leading dimensions that explain ``level``, by looking at every number of them."""
    enough = np.cumsum(ratios, -1) >= level - 1e-12
    return np.where(ratios.sum(-1) > 0, enough.argmax(-1) + 1, 0)


def _spectra(states: np.ndarray) -> np.ndarray:
    """(layers, heads, tokens, head_dim) → explained-variance ratios, falling."""
    centred = states - states.mean(-2, keepdims=True)
    values = np.linalg.eigvalsh(centred.swapaxes(-1, -2) @ centred)[..., ::-1].clip(0)
    total = values.sum(-1, keepdims=True)
    return np.divide(values, total, out=np.zeros_like(values), where=total > 1e-9)


def _entropy_rank(ratios: np.ndarray) -> np.ndarray:
    return np.exp(-(ratios * np.log(np.where(ratios > 0, ratios, 1))).sum(-1))


def _participation(ratios: np.ndarray) -> np.ndarray:
    squares = (ratios**2).sum(-1)
    return np.divide(1, squares, out=np.zeros_like(squares), where=squares > 0)


@cache
def ranked(
    layers: int = 5, heads: int = 2, head_dim: int = 16, rotary: bool = True, tokens: int = _TOKENS, still: bool = False
) -> KeyRankResult:
    """What the key rank probe would say of keys whose directions fade, faster before rotation and in later layers.

    Parameters
    ----------
    still : bool
        Whether the keys of layer 0, head 0 do not vary at all.
    """
    random = np.random.default_rng(layers * 100 + heads)
    steps = np.arange(head_dim) / head_dim
    fading = np.exp(-steps * (2 + 3 * np.arange(layers)[:, None, None, None] / layers))
    noise = random.normal(size=(layers, heads, tokens, head_dim))
    pre = noise * fading**1.5 if rotary else noise * fading
    post, value = noise * fading, random.normal(size=noise.shape) * fading**0.5
    query = random.normal(size=(layers, 2 * heads, tokens, head_dim)) * fading
    if still:
        pre[0, 0] = post[0, 0] = 1.0
    spectra = {name: _spectra(states) for name, states in (("pre", pre), ("post", post), ("value", value), ("query", query))}
    ranks = {name: _counted(each, 0.9) for name, each in spectra.items()}
    means = {name: each.mean(1) for name, each in ranks.items()}
    without = _spectra(post[:, :, tokens // 10 :])
    fewer = _counted(without, 0.9)
    chance = {name: (each.mean(1) / head_dim).tolist() for name, each in ranks.items()}
    return KeyRankResult(
        layers=layers,
        heads=heads,
        query_heads=2 * heads,
        head_dim=head_dim,
        value_dim=head_dim,
        tokens=tokens,
        level=0.9,
        rotary=[rotary] * layers,
        **{f"rank_{name}": each.tolist() for name, each in ranks.items()},
        ranks_pre=np.stack([_counted(spectra["pre"], level) for level in LEVELS]),
        ranks_post=np.stack([_counted(spectra["post"], level) for level in LEVELS]),
        **{f"variance_{name}": each.var(2, ddof=1).sum(-1) for name, each in (("pre", pre), ("post", post), ("value", value))},
        **{f"spectra_{name}": spectra[name] for name in ("pre", "post", "value")},
        **{f"effective_rank_{name}": _entropy_rank(each) for name, each in spectra.items()},
        **{f"participation_{name}": _participation(each) for name, each in spectra.items()},
        rank_post_uncentred=ranks["post"].tolist(),
        without_first=WithoutFirst(fewer.tolist(), without, float(fewer.mean()), float(fewer.mean(1).std())),
        **{f"mean_{name}": float(each.mean()) for name, each in means.items()},
        **{f"spread_{name}": float(each.std()) for name, each in means.items()},
        lowest_pre=np.argsort(means["pre"], kind="stable").tolist(),
        lowest_post=np.argsort(means["post"], kind="stable").tolist(),
        limited=tokens <= head_dim,
        overlap_pre=np.linspace(0.95, 0.9, layers).tolist(),
        overlap_post=np.linspace(0.97, 0.85, layers).tolist(),
        chance_pre=chance["pre"],
        chance_post=chance["post"],
        compared="halves",
        overlap_limited=tokens <= head_dim,
    )


@cache
def approximated(
    layers: tuple[int, ...] = (0, 1, 2, 3),
    dims: tuple[float, ...] = (0.5, 0.25, 0.125),
    top: tuple[float, ...] = (0.5, 0.25, 0.125),
    baselines: bool = True,
) -> LowRankResult:
    """What the low-rank attention probe would say of one query per layer; predictions suffer by the error."""
    random, head_dim, tokens = np.random.default_rng(len(layers)), 16, 64
    shape = (len(layers), len(dims), len(top))
    found = {name: np.zeros(shape) for name in ("recall", "jaccard", "mass", "error")}
    best = np.zeros((len(layers), len(top)))
    for place in range(len(layers)):
        keys = random.normal(size=(tokens, head_dim)) * np.exp(-np.arange(head_dim) / (4 + place))
        query, values = 2 * random.normal(size=head_dim), random.normal(size=(tokens, head_dim))
        scores = keys @ query
        weights = np.exp(scores - scores.max())
        weights /= weights.sum()
        for j, share in enumerate(top):
            k = max(1, int(share * tokens))
            exact = set(np.argsort(-scores)[:k])
            best[place, j] = weights[list(exact)].sum()
            for i, part in enumerate(dims):
                r = max(1, int(part * head_dim))
                mine = set(np.argsort(-keys[:, :r] @ query[:r])[:k])
                kept = weights[list(mine)]
                out = (kept / kept.sum()) @ values[list(mine)]
                found["recall"][place, i, j] = len(mine & exact) / k
                found["jaccard"][place, i, j] = len(mine & exact) / len(mine | exact)
                found["mass"][place, i, j] = kept.sum()
                dense = weights @ values
                found["error"][place, i, j] = np.linalg.norm(out - dense) / np.linalg.norm(dense)
    kl = found["error"].mean(0) / 4
    cost = np.array([[min(part / 2 + share, 1.5) for share in top] for part in dims])
    places = [(i, j) for i in range(len(dims)) for j in range(len(top))]
    front = [
        [i, j]
        for i, j in places
        if not any(cost[p] <= cost[i, j] and kl[p] <= kl[i, j] and (cost[p] < cost[i, j] or kl[p] < kl[i, j]) for p in places)
    ]
    others = {"exact": 0.3 * kl.min(0), "last": 2 + kl[0], "random": 3 + kl[0], "pca": 4 * kl.max(1)} if baselines else {}
    return LowRankResult(
        dims=list(dims),
        top=list(top),
        layers=list(layers),
        heads=[4] * len(layers),
        kv_heads=[2] * len(layers),
        head_dim=[head_dim] * len(layers),
        tokens=1000,
        calibration_tokens=1024,
        calibrated_on="the 2 windows that follow",
        **found,
        mass_exact=best,
        overall={name: values.mean(0) for name, values in (found | {"mass_exact": best}).items()},
        dense_perplexity=20.0,
        perplexity=20 * np.exp(kl),
        kl=kl,
        baseline_perplexity={name: 20 * np.exp(each) for name, each in others.items()},
        baseline_kl=others,
        cost=cost,
        paper_cost=cost / 2,
        front=front,
    )
