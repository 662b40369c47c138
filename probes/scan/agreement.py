"""How well cheap scores rank what was measured, and where they are wrong."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.stats import kendalltau, rankdata, spearmanr

from plans.drops import LETTERS

_PARTS = tuple(LETTERS)
_SHOWN = 3  # items that are named where ranks are apart
_LEAST = 3  # items, of which two always agree or disagree wholly


def rank_agreement(scores: Mapping[str, np.ndarray], measured: np.ndarray) -> list[dict[str, Any]]:
    """Rank correlations of each score with what was measured, by part and for attention and MLP together.

    Parameters
    ----------
    scores : mapping of str to ndarray of shape (3, layers)
        Of attention, MLP and block; the lower, the more redundant. NaN where there is none.
    measured : ndarray of shape (3, layers)

    Returns
    -------
    list of dict
        ``score``, ``part`` (``attention``, ``mlp``, ``block`` or ``joint``), ``spearman``, ``kendall`` (τ-b), ``count`` of
        items, and ``apart``: the items whose ranks differ most, with ``item``, ``score_rank`` and ``measured_rank``, where 1 is
        the most redundant. Correlations are NaN for fewer than three items, or where all are alike.
    """
    layers = measured.shape[1]
    items = np.array([[f"{part[0]}{layer}" for layer in range(layers)] for part in _PARTS])
    rows = {part: [k] for k, part in enumerate(_PARTS)} | {"joint": [0, 1]}
    return [
        {"score": name, "part": part} | _compared(score[which].ravel(), measured[which].ravel(), items[which].ravel())
        for part, which in rows.items()
        for name, score in scores.items()
    ]


def _compared(score: np.ndarray, measured: np.ndarray, items: np.ndarray) -> dict[str, Any]:
    there = np.isfinite(score) & np.isfinite(measured)
    score, measured, items = score[there], measured[there], items[there]
    if len(items) < _LEAST or np.ptp(score) == 0 or np.ptp(measured) == 0:
        return {"spearman": np.nan, "kendall": np.nan, "count": len(items), "apart": []}
    ranks = np.stack([rankdata(score), rankdata(measured)])
    distance = np.abs(ranks[0] - ranks[1])
    worst = [i for i in np.argsort(-distance, kind="stable")[:_SHOWN] if distance[i] > 0]
    return {
        "spearman": float(spearmanr(score, measured).statistic),
        "kendall": float(kendalltau(score, measured).statistic),
        "count": len(items),
        "apart": [
            {"item": str(items[i]), "score_rank": float(ranks[0, i]), "measured_rank": float(ranks[1, i])} for i in worst
        ],
    }
