"""Two plans on the same tokens, the same items or the same tasks: which is better, and whether that could be chance."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from measures.significance.intervals import bootstrap
from measures.significance.paired import in_words as undecided
from measures.significance.paired import verdict
from plans.drops import Drops
from plans.operation import Shape
from plans.plan import Plan
from probes.choice.choice_subspace import ChoiceResult
from probes.deviation.fidelity import FidelityResult
from probes.search.search import SearchResult
from probes.tasks.evaluate import EvaluateResult, paired


@dataclass(frozen=True)
class Pair:
    """One comparison; differences are second less first.

    Attributes
    ----------
    what, unit : str
    first, second, difference : float
    low, high : float
        95 % bootstrap interval of the difference, over windows or items; NaN: there are too few.
    p : float or None
        Of McNemar's exact test, where each item is right or wrong.
    samples : int
        Windows or items.
    better : str
        ``first``, ``second``, or empty: this cannot be told.
    """

    what: str
    unit: str
    first: float
    second: float
    difference: float
    low: float
    high: float
    p: float | None
    samples: int
    better: str

    @property
    def says(self) -> str:
        """The verdict in words."""
        if self.better:
            return f"the {self.better} is better"
        return undecided(0, self.difference, self.samples, self.p)


def on_tokens(first: FidelityResult, second: FidelityResult) -> list[Pair]:
    """Both plans on the windows of one text: KL to the dense model and log-likelihood, resampled by window."""
    return [
        _pair(what, "nats per token", *(np.asarray(side, dtype=np.float64).mean(1) for side in sides), lower=True)
        for what, sides in {
            "KL to the dense model": (first.token_kl, second.token_kl),
            "Negative log-likelihood": (first.token_nll, second.token_nll),
        }.items()
    ]


def on_held_out(
    plans: Sequence[str], measured: Sequence[FidelityResult | None], searches: Sequence[SearchResult]
) -> list[Pair]:
    """Two plans of which searches measured one or both: KL on the windows that these chose nothing on; empty: not of both."""
    sides = [_held_out(plan, result, searches) for plan, result in zip(plans, measured, strict=True)]
    if any(side is None for side in sides):
        return []
    return [_pair("KL to the dense model, held-out windows", "nats per token", *sides, lower=True)]


def _held_out(plan: str, measured: FidelityResult | None, searches: Sequence[SearchResult]) -> np.ndarray | None:
    """Mean KL of each window that judges, float64 (judging windows,)."""
    for search in searches:
        if plan in search.plans:
            return search.window_kl[search.plans.index(plan)]
        if measured is not None:
            return np.asarray(measured.token_kl[search.chosen_windows :], dtype=np.float64).mean(1)
    return None


def on_items(first: ChoiceResult, second: ChoiceResult) -> list[Pair]:
    """Both plans on the same multiple-choice items."""
    answers = np.asarray(first.answers)
    return [
        _pair(f"Accuracy, {what}", "of items", *((side.chosen == answers).astype(float) for side in sides))
        for what, sides in {
            "by the option's text": (first.texts, second.texts),
            "by letter": (first.letters, second.letters),
        }.items()
    ]


def on_tasks(first: EvaluateResult, second: EvaluateResult) -> list[Pair]:
    """Both plans on the items that both were asked, paired by the harness's digests; each task by its first metric."""
    found = []
    for task in first.tasks:
        name, metric = task["name"], task["metrics"][0]
        if metric["name"] not in first.values.get(name, {}) or metric["name"] not in second.values.get(name, {}):
            continue
        theirs = {digest: place for place, digest in enumerate(second.digests[name])}
        places = [(i, theirs[digest]) for i, digest in enumerate(first.digests[name]) if digest in theirs]
        if places:
            ours, others = map(list, zip(*places, strict=True))
            sides = first.values[name][metric["name"]][ours], second.values[name][metric["name"]][others]
            found.append(_pair(f"{name}, {metric['name']}", "of items", *sides, lower=not metric["better"]))
    return found


def _pair(what: str, unit: str, first: np.ndarray, second: np.ndarray, lower: bool = False) -> Pair:
    """A comparison by samples (samples,); ``lower`` is better, or higher."""
    values = paired(first, second)
    low, high, p = values["low"], values["high"], values.get("p") if unit == "of items" else None
    larger = verdict(values["difference"], low, high, len(first), p)
    better = {0: "", 1: "first" if lower else "second", -1: "second" if lower else "first"}[larger]
    return Pair(what, unit, float(first.mean()), float(second.mean()), values["difference"], low, high, p, len(first), better)


def window_interval(result: FidelityResult) -> tuple[float, float]:
    """95 % bootstrap interval of the mean KL, over windows."""
    low, high = bootstrap(np.asarray(result.token_kl, dtype=np.float64).mean(1))
    return float(low), float(high)


def in_words(first: Plan, second: Plan, shape: Shape) -> str:
    """What one plan does that the other does not."""
    if first == second:
        return "Both plans are the same."
    said = [
        f"{name}: {own.sentence(shape)}."
        for name, own in (("Only the first", _own(first, second)), ("Only the second", _own(second, first)))
        if own
    ]
    both = first - _own(first, second)
    return " ".join([*said, f"Both: {both.sentence(shape)}." if both else "They have nothing in common."])


def _own(plan: Plan, other: Plan) -> Plan:
    """What a plan does and another does not; of weights and keys the whole operation, as soon as they differ."""
    theirs = {op.name: op for op in other.operations}
    found = []
    for op in plan.operations:
        left = op - theirs[op.name] if isinstance(op, Drops) and op.name in theirs else op
        if left is not None and left and op != theirs.get(op.name):
            found.append(left)
    return Plan(tuple(found))
