"""Limits that the words of a verdict stand for, and on which side of them a plan is, as far as its samples can tell."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from measures.significance.intervals import bootstrap
from measures.significance.paired import LEAST
from probes.choice.choice_subspace import ChoiceResult
from probes.choice.choices import Choices
from probes.deviation.generation_drift import DriftResult
from probes.deviation.transitions import TransitionsResult
from refusal import plural

HIDDEN = 0.02  # 1 − cos(h), mean over positions
PROBABILITIES = 0.1  # 1 − cos(p), mean over prompts at a step
NEAR, FAR = 0.1, 1.0  # nats of KL per step, teacher-forced
REPEATED, MORE_REPEATED = 0.3, 0.1  # share of 4-grams that were there before; how much more than in the dense texts
AGREEMENT, LOST = 0.9, 0.05  # share of equal choices; accuracy lost
GUESSING = 0.1  # accuracy above chance from which choices mean something
_ROUNDING = 1e-9  # 1 − 0.98 is a little more than 0.02, and so is a mean of equal numbers

THRESHOLDS = (
    ("Embedding retrieval", f"1 − cos(h) ≤ {HIDDEN:g} at the last depth",
     "A rotation of 11 degrees, which hardly changes which texts a cosine search over hidden states ranks first. Mean over "
     "the tokens read; samples are windows."),
    ("Probabilities", f"1 − cos(p) ≤ {PROBABILITIES:g}",
     "Beyond it the likeliest tokens begin to change places. Mean over prompts, at each step of the dense text."),
    ("Text generation, near", f"KL ≤ {NEAR:g} nats per step",
     "At T = 1, the only one that is judged. On average the dense model's tokens keep nine tenths of their probability, so "
     "texts differ late and little. Samples are prompts."),
    ("Text generation, far", f"KL > {FAR:g} nat per step",
     "On average they have become e times less likely: another text, seldom as good."),
    ("Repetition", f"> {100 * REPEATED:.0f} % of 4-grams, and {100 * MORE_REPEATED:.0f} points more than the dense texts",
     "Nearly one in three 4-token sequences has occurred before: the text repeats itself."),
    ("Multiple choice", f"same choice ≥ {100 * AGREEMENT:.0f} %, accuracy lost ≤ {100 * LOST:.0f} points",
     "Judged by letter or by text, whichever the dense model is better at. Samples are items."),
    ("Guessing", f"accuracy − chance > {100 * GUESSING:.0f} points",
     "A dense model that guesses makes no choices that a plan could preserve."),
    ("Samples", f"95 % interval, {LEAST} or more",
     "A limit counts as kept or crossed once the whole interval lies on one side of it; else there is too little text to say. "
     "Bootstrap over samples, Wilson's interval for shares. The sentences below the verdict speak of means."),
)  # fmt: skip

WELL, PARTLY, BADLY, UNSURE = "well", "partly", "badly", "too little text to say"
RETRIEVAL, CHOICE, GENERATION = "embedding retrieval", "multiple choice", "text generation"


@dataclass(frozen=True)
class Judged:
    """One use of a model: ``word`` is ``well``, ``partly``, ``badly`` or `UNSURE`; ``evidence`` the number and its interval."""

    word: str
    evidence: str


def _side(low: float, high: float, limit: float, samples: int) -> int:
    """On which side of a limit an interval lies: −1 within it, 1 beyond it, 0 if that cannot be told."""
    if samples < LEAST or not np.isfinite([low, high]).all():
        return 0
    return 1 if above(low, limit) else 0 if above(high, limit) else -1


def retrieval(found: TransitionsResult) -> Judged:
    turned = np.asarray(found.output_turn, float)
    low, high = map(float, bootstrap(turned))
    word = {-1: WELL, 0: UNSURE, 1: BADLY}[_side(low, high, HIDDEN, len(turned))]
    return Judged(word, f"1 − cos(h) {digits(turned.mean())}{_interval(low, high)}, {plural(len(turned), 'window')}")


def _interval(low: float, high: float, show: Callable[[float], str] | None = None) -> str:
    show = show or digits
    return f" (95 %: {show(low)} to {show(high)})" if np.isfinite(low) else ""


def generation(found: DriftResult) -> Judged | None:
    """None at another temperature than 1, if no text repeats itself: KL falls with its square, and what is written does not."""
    again = _repetition(found)
    if again.word == BADLY or (found.temperature != 1 and repeats(found)):
        return again
    if found.temperature != 1:
        return None
    near = _near(found)
    return near if near.word == BADLY or again.word != UNSURE else Judged(UNSURE, f"{near.evidence}; {again.evidence}")


def _repetition(found: DriftResult) -> Judged:
    """Whether the plan makes texts turn in circles; texts that are too short do not."""
    ours, dense = np.asarray(found.repetition, float), np.asarray(found.dense_repetition, float)
    if not np.isfinite(ours).any():
        return Judged(WELL, "")
    ours, dense = np.nan_to_num(ours), np.nan_to_num(dense)
    more = ours - dense
    sides = [_side(*map(float, bootstrap(each)), limit, len(ours)) for each, limit in ((ours, REPEATED), (more, MORE_REPEATED))]
    shares = _interval(*map(float, bootstrap(ours)), percent)
    evidence = f"{percent(ours.mean())} of 4-grams are repeated{shares}, {plural(len(ours), 'prompt')}"
    return Judged(BADLY if min(sides) > 0 else WELL if min(sides) < 0 else UNSURE, evidence)


def _near(found: DriftResult) -> Judged:
    """How far the next tokens are from the dense model's, over prompts that may be of unequal length."""
    kl = np.asarray(found.forced["kl"], float)
    there = np.isfinite(kl)
    sums = np.stack([np.where(there, kl, 0).sum(1), there.sum(1)], 1)
    low, high = map(float, bootstrap(sums[sums[:, 1] > 0], _ratio))
    near, far = (_side(low, high, limit, len(kl)) for limit in (NEAR, FAR))
    word = {(-1, -1): WELL, (1, -1): PARTLY, (1, 1): BADLY}.get((near, far), UNSURE)
    return Judged(word, f"KL {digits(np.nanmean(kl))} nats per step{_interval(low, high)}, {plural(len(kl), 'prompt')}")


def _ratio(sums: np.ndarray, axis: int) -> np.ndarray:
    """Sums over counts, of samples with a sum and a count each."""
    total = sums.sum(axis)
    return total[..., 0] / total[..., 1]


def repeats(found: DriftResult) -> bool:
    """Whether the pruned model's own texts turn in circles, and the dense ones do not as much."""
    ours, dense = mean(found.repetition), mean(found.dense_repetition)
    return bool(above(ours, REPEATED) and above(ours - dense, MORE_REPEATED))


def judged(found: ChoiceResult) -> tuple[str, Choices]:
    """The way of choosing that the dense model is better at; by letter at a tie."""
    ways = {"by letter": found.letters, "by text": found.texts}
    return max(ways.items(), key=lambda each: each[1].dense_accuracy)


def choice(found: ChoiceResult) -> Judged | None:
    """None where the dense model guesses, and nothing can be judged."""
    way, answers = judged(found)[1], np.asarray(found.answers)
    same = np.asarray(way.chosen) == np.asarray(way.dense_chosen)
    right, dense_right = (np.asarray(each) == answers for each in (way.chosen, way.dense_chosen))
    if not above(way.dense_accuracy - found.chance, GUESSING):
        return None
    sure = _side(*_wilson(dense_right), found.chance + GUESSING, len(same)) > 0
    low, high = _wilson(~same)
    lost = map(float, bootstrap(dense_right.astype(float) - right))
    sides = [_side(low, high, 1 - AGREEMENT, len(same)), _side(*lost, LOST, len(same))]
    word = BADLY if sure and max(sides) > 0 else WELL if sure and max(sides) < 0 else UNSURE
    shares = _interval(1 - high, 1 - low, percent)
    return Judged(word, f"same choice in {percent(same.mean())}{shares}, {plural(len(same), 'item')}")


def _wilson(true: np.ndarray) -> tuple[float, float]:
    """95 % interval of a share."""
    found = binomtest(int(true.sum()), len(true)).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


def above(value: float | np.ndarray, threshold: float) -> bool | np.ndarray:
    """Whether it has left a threshold; NaN has not."""
    return value > threshold + _ROUNDING


def mean(values: np.ndarray) -> float:
    there = np.asarray(values, float)
    there = there[np.isfinite(there)]
    return float(there.mean()) if len(there) else float("nan")


def percent(share: float) -> str:
    return f"{100 * share:.0f} %" if np.isfinite(share) else "unknown"


def digits(value: float) -> str:
    """Two digits: ``0.0031``, ``12``."""
    return f"{float(value):.2g}" if abs(value) < 99.5 or not np.isfinite(value) else f"{float(value):.0f}"
