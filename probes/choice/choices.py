"""One way of choosing among options, over all items: how often it is right, and how far the predictions behind it are apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from texts.items import LETTERS, Item


@dataclass(frozen=True)
class Choices:
    """One way of choosing. Arrays have shape (items,) unless another one is given.

    Attributes
    ----------
    accuracy, dense_accuracy, agreement : float
        Share of items where the pruned and the dense model choose the right option, and where both choose the same.
    chosen, dense_chosen : int64 arrays
        Place of the option, from 0.
    scores, dense_scores : float64 arrays of shape (items, 5)
        By letter: log-probability of the letter's token in nats. By text: log-likelihood of the option in nats per byte.
        NaN where an item has fewer options.
    margin, dense_margin : float64 arrays
        The best score less the second best: 0 is a draw.
    logit_cosine, prob_cosine, kl, reverse_kl : float64 arrays
        Over the whole vocabulary; KL(dense‖pruned) and KL(pruned‖dense) in nats.
    option_logit_cosine, option_prob_cosine, option_kl, option_reverse_kl : float64 arrays
        The same over the options' tokens, their probabilities renormalised; NaN for items left out.
    option_mass, dense_option_mass : float64 arrays
        Probability of all the options' tokens together, before it is renormalised; NaN for items left out.
    means : dict of str to float
        Mean of each measure above, over the items it has.
    categories : dict of str to dict
        ``items, accuracy, dense_accuracy, agreement`` and the ``means`` by category.
    left_out : list of int
        Items whose options cannot be told apart by one token, so they have no subspace; they are chosen all the same.
    remarks : list of str
        A sentence on each of them.
    """

    accuracy: float
    dense_accuracy: float
    agreement: float
    chosen: np.ndarray
    dense_chosen: np.ndarray
    scores: np.ndarray
    dense_scores: np.ndarray
    margin: np.ndarray
    dense_margin: np.ndarray
    logit_cosine: np.ndarray
    prob_cosine: np.ndarray
    kl: np.ndarray
    reverse_kl: np.ndarray
    option_logit_cosine: np.ndarray
    option_prob_cosine: np.ndarray
    option_kl: np.ndarray
    option_reverse_kl: np.ndarray
    option_mass: np.ndarray
    dense_option_mass: np.ndarray
    means: dict[str, float]
    categories: dict[str, dict[str, float]]
    left_out: list[int]
    remarks: list[str]


def choices(items: Sequence[Item], rows: Sequence[dict[str, Any]]) -> Choices:
    """Put what was found at each item together.

    Parameters
    ----------
    items : sequence of Item
    rows : sequence of dict
        For each item ``scores`` and ``dense_scores``, lists with a score per option, and the measures of `Choices` by name.
    """
    arrays = {name: np.array([row[name] for row in rows]) for name in rows[0] if "scores" not in name}
    for side in ("", "dense_"):
        scores = np.array([row[f"{side}scores"] + [np.nan] * (len(LETTERS) - len(row["scores"])) for row in rows])
        ordered = np.sort(np.where(np.isnan(scores), -np.inf, scores), axis=1)
        arrays |= {f"{side}scores": scores, f"{side}margin": ordered[:, -1] - ordered[:, -2]}
        arrays[f"{side}chosen"] = np.nanargmax(scores, axis=1)
    answers, kinds = np.array([item.answer for item in items]), np.array([item.category for item in items])
    shares = {
        "accuracy": arrays["chosen"] == answers,
        "dense_accuracy": arrays["dense_chosen"] == answers,
        "agreement": arrays["chosen"] == arrays["dense_chosen"],
    }
    measured = {name: values for name, values in arrays.items() if values.ndim == 1 and "chosen" not in name}
    categories = {}
    for kind in dict.fromkeys(kinds):
        of_kind = {name: _mean(values[kinds == kind]) for name, values in (shares | measured).items()}
        categories[str(kind)] = {"items": int((kinds == kind).sum()), **of_kind}
    left_out = np.flatnonzero(np.isnan(arrays["option_kl"])).tolist()
    return Choices(
        **{name: _mean(values) for name, values in shares.items()},
        **arrays,
        means={name: _mean(values) for name, values in measured.items()},
        categories=categories,
        left_out=left_out,
        remarks=[_remark(place, items[place]) for place in left_out],
    )


def _mean(values: np.ndarray) -> float:
    """Mean of the values that are there; NaN where none is."""
    there = values[~np.isnan(values.astype(float))]
    return float(there.mean()) if len(there) else float("nan")


def _remark(place: int, item: Item) -> str:
    return (
        f"Item {place} ('{item.question}'): some of its options begin with the same token, so it has no option subspace and "
        "is left out of those means; it is still chosen by its whole text."
    )
