"""How far a GPU's numbers may be from the CPU's, field by field, and why; and the comparison itself."""

from fnmatch import fnmatch
from typing import Any

import numpy as np
import torch

from probes.base import as_dict

# Every float field of every probe in float32, over its largest value: both devices add in another order. Weights changed by
# 2e-7 of themselves and eager attention in the place of the fused one, on a CPU, moved no other field by more than 3e-5.
FLOAT32 = 1e-4
SMALLEST = 1e-3  # a field whose values are all smaller is compared with this

SCORED = {torch.float32: FLOAT32, torch.bfloat16: 0.03}  # what tasks are told, over the largest; on a CPU it was 0.006

# probe.field → the bound in its place. None: not compared.
FLOAT32_OTHERS: dict[str, tuple[float | None, str]] = {
    "similarity.*_spread": (5e-4, "quantiles come from a histogram whose bins are 3.8e-4 wide; one token can change bins"),
    "low_rank_attention.recall": (0.03, "of two keys with equal scores, each device may choose another one"),
    "low_rank_attention.jaccard": (0.03, "as recall"),
    "low_rank_attention.mass": (0.03, "as recall"),
    "low_rank_attention.error": (0.03, "as recall"),
    "low_rank_attention.overall.*": (0.03, "as recall"),
    "low_rank_attention.perplexity": (0.03, "as recall: another key is attended to"),
    "low_rank_attention.kl": (0.03, "as perplexity"),
    "low_rank_attention.baseline_*": (0.03, "as perplexity"),
    "low_rank_attention.front": (None, "a front is which numbers are lower, and equal ones have no order"),
    "key_rank.rank*": (1, "a share of the variance that lies on the level may fall on either side: one dimension more"),
    "key_rank.without_first.rank": (1, "as rank"),
    "key_rank.mean_*": (0.05, "means of ranks"),
    "key_rank.spread_*": (0.05, "means of ranks"),
    "key_rank.without_first.mean": (0.05, "means of ranks"),
    "key_rank.without_first.spread": (0.05, "means of ranks"),
    "key_rank.overlap_*": (0.05, "overlap of so many dimensions as the rank"),
    "key_rank.chance_*": (0.05, "rank over dimension"),
    "key_rank.lowest_*": (None, "layers by rank, which may be one apart"),
    "fidelity.token_kl": (
        1e-3,
        "of a single token, where the models hardly differ: of all tokens together it is as good as any",
    ),
    "speed.*": (None, "times and memory belong to the device"),
    "drop_scan.agreements.*.apart*": (None, "names of drops by rank: two that cost nearly the same may change places"),
    "drop_scan.agreements.*": (0.1, "correlations of such ranks"),
}

# In bfloat16 a number has 8 bits, so each addition to the stream rounds by 0.4 %. Both devices round, each in its own place.
# So the GPU is compared with float32 on the CPU, with the same weights. Each bound is about three times or more what bfloat16
# on a CPU was from that float32, the worst of the families in `tests.gpu.test_numbers`; that number stands in the reason.
BFLOAT16: dict[str, tuple[float, str]] = {
    "similarity.attention": (0.005, "0.0004; cosines of streams, both sides are rounded alike"),
    "similarity.mlp": (0.005, "0.0004"),
    "similarity.block": (0.005, "0.0006"),
    "similarity.*_norm": (0.005, "0.001; lengths of addends, over those of the stream"),
    "similarity.cosine": (0.006, "0.0015"),
    "similarity.angular": (0.006, "0.0015"),
    "fidelity.perplexity": (0.04, "0.007; exp of a mean over tokens"),
    "fidelity.dense_perplexity": (0.04, "0.009"),
    "fidelity.kl": (0.04, "0.008; differences of two rounded logits"),
    "fidelity.logit_cosine": (0.012, "0.003"),
    "fidelity.prob_cosine": (0.015, "0.003"),
    "transitions.attention.h_cosine": (0.003, "0.0004"),
    "transitions.mlp.h_cosine": (0.003, "0.0004"),
    "transitions.cumulative.h_cosine": (0.01, "0.002; over the whole depth"),
    "transitions.cumulative.kl": (0.04, "0.007; as fidelity.kl"),
    "step_layers.cumulative.h_cosine": (0.01, "0.002; as transitions"),
    "key_rank.spectra_*": (0.04, "0.009; shares of variance"),
    "key_rank.effective_rank_pre": (0.01, "0.0024; exp of the entropy of these shares"),
    "low_rank_attention.dense_perplexity": (0.04, "0.009; as fidelity.perplexity"),
    "low_rank_attention.mass_exact": (0.004, "0.0004; softmax of the highest scores"),
    "choice_subspace.letters.means.prob_cosine": (0.1, "0.03; two positions alone"),
    "drop_scan.base_kl": (0.04, "0.007; as fidelity.kl"),
    "drop_scan.*.kl": (0.04, "0.011; as fidelity.kl"),
    "drop_scan.*.similarity": (0.005, "0.0011; as similarity"),
    "drop_scan.*.length": (0.005, "0.0013; as similarity.*_norm"),
    "drop_scan.skip_*": (0.1, "0.034; small changes of addends"),
    "search.single_kl": (0.04, "0.013; as drop_scan. Which plans are chosen may hang on less, also in stability"),
    "answers.kl": (0.3, "0.1; along what was written, where one rounding may choose another token"),
    "generation_drift.forced.p_cosine": (0.3, "0.1; one position, the first step: later ones depend on what was written"),
}


def leaves(result: Any) -> dict[str, Any]:
    """A result's fields by dotted name."""
    found = {}

    def walk(value: Any, name: str) -> None:
        if isinstance(value, dict) and value:
            for key, inner in value.items():
                walk(inner, f"{name}.{key}" if name else str(key))
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            walk(dict(enumerate(value)), name)
        else:
            found[name] = value

    walk(as_dict(result), "")
    return found


def apart(found: Any, expected: Any) -> float:
    """The largest difference over the largest value expected; infinite where it is another thing."""
    if not _numbers(expected):
        same = np.array_equal(found, expected) if isinstance(expected, np.ndarray) else found == expected
        return 0.0 if same else np.inf
    one, other = (np.asarray(each, float) for each in (found, expected))
    if one.shape != other.shape or not np.array_equal(np.isfinite(one), np.isfinite(other)):
        return np.inf
    there = np.isfinite(other)
    if not there.any():
        return 0.0
    whole = np.asarray(expected).dtype.kind in "iu"
    scale = 1.0 if whole else max(np.abs(other[there]).max(), SMALLEST)
    return float(np.abs(one - other)[there].max() / scale)


def _numbers(value: Any) -> bool:
    try:
        return np.asarray(value).dtype.kind in "fiu"
    except ValueError:  # rows of several lengths, which have to be the same
        return False


def bound_of(name: str, table: dict, otherwise: float | None) -> float | None:
    """The bound of a field; None: it is not compared."""
    return next((bound for pattern, (bound, _) in table.items() if fnmatch(name, pattern)), otherwise)


def beyond(probe: str, found: Any, expected: Any, table: dict, otherwise: float | None) -> dict[str, float]:
    """The fields that are further from what is expected than their bound."""
    ours, theirs = (
        {name: value for name, value in leaves(each).items() if bound_of(f"{probe}.{name}", table, otherwise) is not None}
        for each in (found, expected)
    )
    assert ours.keys() == theirs.keys()
    far = {name: apart(ours[name], value) for name, value in theirs.items()}
    return {name: distance for name, distance in far.items() if distance > bound_of(f"{probe}.{name}", table, otherwise)}
