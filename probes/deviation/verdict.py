"""What the three deviation probes say of a plan, in words: where it leaves the dense model, and what it still suits.

Everything is computed from the numbers; what was not asked is not judged. A value equal to a threshold has not left it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from probes.choice.choice_subspace import ChoiceResult
from probes.choice.choices import Choices
from probes.deviation.generation_drift import DriftResult
from probes.deviation.transitions import TransitionsResult

HIDDEN = 0.02  # 1 − cos(h), mean over positions
PROBABILITIES = 0.1  # 1 − cos(p), mean over prompts at a step
NEAR, FAR = 0.1, 1.0  # nats of KL per step, teacher-forced
REPEATED, MORE_REPEATED = 0.3, 0.1  # share of 4-grams that were there before; how much more than in the dense texts
AGREEMENT, LOST = 0.9, 0.05  # share of equal choices; accuracy lost
GUESSING = 0.1  # accuracy above chance from which choices mean something
_ROUNDING = 1e-9  # 1 − 0.98 is a little more than 0.02, and so is a mean of equal numbers

THRESHOLDS = (
    ("Hidden states", f"1 − cos(h) ≤ {HIDDEN:g}",
     "A turn of 11 degrees, which hardly changes how hidden states rank texts. Mean over tokens, at each depth; ranking "
     "is judged at the last one."),
    ("Probabilities", f"1 − cos(p) ≤ {PROBABILITIES:g}",
     "Beyond it the likeliest tokens begin to change places. Mean over prompts, at each step of the dense text."),
    ("Generation, near", f"KL ≤ {NEAR:g} nats per step",
     "At T = 1, the only one that is judged. On average the dense model's tokens keep nine tenths of their probability, so "
     "texts differ late and little."),
    ("Generation, far", f"KL > {FAR:g} nat per step",
     "On average they have become e times less likely: another text, seldom as good."),
    ("Repetition", f"> {100 * REPEATED:.0f} % of the 4-grams, and {100 * MORE_REPEATED:.0f} points more than the dense texts",
     "Nearly every third sequence of four tokens was there before: the text repeats itself."),
    ("Choice", f"same choice ≥ {100 * AGREEMENT:.0f} %, accuracy lost ≤ {100 * LOST:.0f} points",
     "Judged by letter or by text, whichever the dense model is better at."),
    ("Guessing", f"accuracy − chance > {100 * GUESSING:.0f} points",
     "A dense model that guesses makes no choices that a plan could preserve."),
)  # fmt: skip

_WELL, _PARTLY, _BADLY = "well", "partly", "badly"


@dataclass(frozen=True)
class Verdict:
    """What can be said of a plan.

    Attributes
    ----------
    findings : list of str
        Sentences, in the order hidden states, probabilities, texts, choices.
    uses : dict of str to str
        ``ranking``, ``choice`` and ``generation``, as far as known: ``well``, ``partly`` or ``badly``.
    conclusion : str
        One sentence; empty if nothing is known.
    """

    findings: list[str]
    uses: dict[str, str]
    conclusion: str


def verdict(
    transitions: TransitionsResult | None = None, drift: DriftResult | None = None, choice: ChoiceResult | None = None
) -> Verdict:
    """Judge a plan by the results there are."""
    findings: list[str] = []
    uses: dict[str, str] = {}
    if transitions is not None:
        findings += _depth(transitions)
        uses["ranking"] = _BADLY if _above(1 - transitions.cumulative.h_cosine[-1], HIDDEN) else _WELL
    if choice is not None:
        uses["choice"] = _choice(choice)
    if drift is not None:
        findings += _steps(drift) + _texts(drift)
        uses["generation"] = _generation(drift)
    if choice is not None:
        findings.append(_choices(choice))
    if drift is not None and drift.temperature != 1:
        findings.append(f"Probabilities are read at T = {drift.temperature:g}; how near generation stays is judged at T = 1.")
    return Verdict(findings, {name: use for name, use in uses.items() if use}, _conclusion(uses))


def _depth(found: TransitionsResult) -> list[str]:
    """Up to where hidden states stay, where the largest jump is, and what becomes of it in logits and probabilities."""
    turned = 1 - np.array(found.cumulative.h_cosine)
    beyond = np.flatnonzero(_above(turned, HIDDEN))
    most = int(turned.argmax())
    if not len(beyond):
        sentence = f"Hidden states stay within 1 − cos = {HIDDEN:g} at every depth: at most {_g(turned[most])}, {_at(most)}."
    elif beyond[0] <= 1:
        sentence = f"Hidden states exceed 1 − cos = {HIDDEN:g} at once: {_past(turned[beyond[0]])} {_at(beyond[0])}."
    else:
        sentence = (
            f"Hidden states stay within 1 − cos = {HIDDEN:g} up to layer {beyond[0] - 2} and are at "
            f"{_past(turned[beyond[0]])} {_at(beyond[0])}."
        )
    jump = int(np.diff(turned).argmax()) if len(turned) > 1 else 0
    if len(turned) > 1 and turned[jump + 1] > turned[jump]:
        sentence += f" The largest step is in layer {jump}, from {_g(turned[jump])} to {_g(turned[jump + 1])}."
    h, z, p = (1 - getattr(found.cumulative, f"{space}_cosine")[-1] for space in "hzp")
    order = sorted({"hidden states": h, "logits": z, "probabilities": p}.items(), key=lambda each: each[1])
    listed = " < ".join(f"{name} {_g(value)}" for name, value in order)
    return [sentence, f"At the output, 1 − cos: {listed}; KL {_g(found.cumulative.kl[-1])} nats."]


def _at(depth: int) -> str:
    return "at the embedding" if depth == 0 else f"after layer {depth - 1}"


def _steps(found: DriftResult) -> list[str]:
    """When probabilities leave the dense ones on the dense text, and the worst token."""
    mean = 1 - found.forced_spread["p_cosine"][:, 0]
    beyond = np.flatnonzero(_above(mean, PROBABILITIES))  # a NaN, where every text has ended, is not beyond
    steps = int(np.isfinite(mean).sum())
    if len(beyond):
        first = f"On the dense text, probabilities exceed 1 − cos = {PROBABILITIES:g} at step {beyond[0] + 1}"
    else:
        first = f"On the dense text, probabilities stay within 1 − cos = {PROBABILITIES:g} over all {steps} steps"
    kl = found.forced["kl"]
    prompt, step = np.unravel_index(np.nanargmax(kl), kl.shape)
    piece = found.dense_pieces[prompt][step].strip().replace("\n", "⏎")
    where = f" (‘{piece}’)" if piece else ""
    worst = f"worst is step {step + 1} of prompt {prompt + 1}{where} with {_g(kl[prompt, step])} nats"
    return [f"{first}; KL is {_g(np.nanmean(kl))} nats per step, {worst}."]


def _texts(found: DriftResult) -> list[str]:
    """When free texts part, and whether they turn in circles."""
    count, parted = len(found.prompts), [each for each in found.divergence if each is not None]
    if not parted:
        return [f"Written freely, all {count} texts are the same as the dense ones."]
    when = f"{len(parted)} of {count} texts diverge, the median at step {int(np.median(parted)) + 1}"
    rouge = f"they share {_percent(_mean(found.rouge_l))} of their words in order (ROUGE-L)"
    ours, dense = _mean(found.repetition), _mean(found.dense_repetition)
    if repeats(found):
        again = f"free generation repeats itself: {_percent(ours)} of the 4-grams were there before (dense {_percent(dense)})"
    elif np.isfinite(ours):
        again = f"{_percent(ours)} of the 4-grams come back (dense {_percent(dense)})"
    else:
        again = "they are too short to repeat themselves"
    return [f"Written freely, {when}; {rouge}; {again}."]


def repeats(found: DriftResult) -> bool:
    """Whether the pruned model's own texts turn in circles, and the dense ones do not as much."""
    ours, dense = _mean(found.repetition), _mean(found.dense_repetition)
    return bool(_above(ours, REPEATED) and _above(ours - dense, MORE_REPEATED))


def _generation(found: DriftResult) -> str:
    """Empty at another temperature than 1: KL falls with its square, and what is written does not know it."""
    if repeats(found):
        return _BADLY
    if found.temperature != 1:
        return ""
    kl = float(np.nanmean(found.forced["kl"]))
    if _above(kl, FAR):
        return _BADLY
    return _PARTLY if _above(kl, NEAR) else _WELL


def judged(found: ChoiceResult) -> tuple[str, Choices]:
    """The way of choosing that the dense model is better at; by letter at a tie."""
    ways = {"by letter": found.letters, "by text": found.texts}
    return max(ways.items(), key=lambda each: each[1].dense_accuracy)


def _choice(found: ChoiceResult) -> str:
    """Empty where the dense model guesses, and nothing can be judged."""
    way = judged(found)[1]
    if not _above(way.dense_accuracy - found.chance, GUESSING):
        return ""
    changed, lost = 1 - way.agreement, way.dense_accuracy - way.accuracy
    return _BADLY if _above(changed, 1 - AGREEMENT) or _above(lost, LOST) else _WELL


def _choices(found: ChoiceResult) -> str:
    name, way = judged(found)
    sentence = (
        f"Multiple choice, {name}: the same choice in {_percent(way.agreement)} of {found.items} items, accuracy "
        f"{_percent(way.accuracy)} (dense {_percent(way.dense_accuracy)}, guessing {_percent(found.chance)})"
    )
    kl, inside = way.means["kl"], way.means["option_kl"]
    sentence += f"; KL {_g(kl)} nats over the vocabulary, {_g(inside)} over the options." if np.isfinite(inside) else "."
    if not _choice(found):
        sentence += " The dense model hardly does better than guessing here, so this says nothing about choice."
    return sentence


def _conclusion(uses: dict[str, str]) -> str:
    """What the plan suits, in one sentence."""
    kinds = {kind: [name for name, use in uses.items() if use == kind] for kind in (_WELL, _PARTLY, _BADLY)}
    well, partly, badly = kinds.values()
    parts = []
    if well:
        parts.append(f"suits {_listed(well)}" + (f", not {_listed(badly, 'or')}" if badly else ""))
    elif badly:
        parts.append(f"does not suit {_listed(badly, 'or')}")
    if partly:
        parts.append(f"changes {_listed(partly)} without breaking it: read the texts")
    return f"This plan {'; it '.join(parts)}." if parts else ""


def _above(value: float | np.ndarray, threshold: float) -> bool | np.ndarray:
    """Whether it has left a threshold; NaN has not."""
    return value > threshold + _ROUNDING


def _listed(names: Sequence[str], word: str = "and") -> str:
    return f" {word} ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def _mean(values: np.ndarray) -> float:
    there = np.asarray(values, float)
    there = there[np.isfinite(there)]
    return float(there.mean()) if len(there) else float("nan")


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if np.isfinite(share) else "unknown"


def _past(turned: float) -> str:
    """A number that has left `HIDDEN`, with as many digits as it takes to see that."""
    return next(text for digits in range(2, 12) if float(text := f"{turned:.{digits}g}") > HIDDEN)


def _g(value: float) -> str:
    """Two digits: ``0.0031``, ``12``."""
    return f"{float(value):.2g}" if abs(value) < 99.5 or not np.isfinite(value) else f"{float(value):.0f}"
