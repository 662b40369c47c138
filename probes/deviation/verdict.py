"""What the three deviation probes say of a plan, in words: where it leaves the dense model, and what it still suits.

Everything is computed from the numbers; what was not asked is not judged. A value equal to a threshold has not left it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from probes.choice.choice_subspace import ChoiceResult
from probes.deviation import limits
from probes.deviation.generation_drift import DriftResult
from probes.deviation.limits import (
    BADLY,
    CHOICE,
    GENERATION,
    HIDDEN,
    PARTLY,
    PROBABILITIES,
    RETRIEVAL,
    UNSURE,
    WELL,
    Judged,
    above,
    digits,
    judged,
    mean,
    percent,
    repeats,
)  # fmt: skip
from probes.deviation.transitions import TransitionsResult
from refusal import plural


@dataclass(frozen=True)
class Verdict:
    """What can be said of a plan.

    Attributes
    ----------
    findings : list of str
        Sentences, in the order hidden states, probabilities, texts, choices.
    uses : dict of str to Judged
        `RETRIEVAL`, `CHOICE` and `GENERATION`, as far as known.
    conclusion : str
        One sentence; empty if nothing is known.
    """

    findings: list[str]
    uses: dict[str, Judged]
    conclusion: str


def verdict(
    transitions: TransitionsResult | None = None, drift: DriftResult | None = None, choice: ChoiceResult | None = None
) -> Verdict:
    """Judge a plan by the results there are."""
    findings: list[str] = []
    uses: dict[str, Judged | None] = {}
    if transitions is not None:
        findings += _depth(transitions)
        uses[RETRIEVAL] = limits.retrieval(transitions)
    if choice is not None:
        uses[CHOICE] = limits.choice(choice)
    if drift is not None:
        findings += _steps(drift) + _texts(drift)
        uses[GENERATION] = limits.generation(drift)
    if choice is not None:
        findings.append(_choices(choice))
    if drift is not None and drift.temperature != 1:
        findings.append(f"Probabilities are read at T = {drift.temperature:g}; how near generation stays is judged at T = 1.")
    known = {name: use for name, use in uses.items() if use is not None}
    return Verdict(findings, known, _conclusion(known))


def _depth(found: TransitionsResult) -> list[str]:
    """Up to where hidden states stay, where the largest jump is, and what becomes of it in logits and probabilities."""
    turned = 1 - np.array(found.cumulative.h_cosine)
    beyond = np.flatnonzero(above(turned, HIDDEN))
    most = int(turned.argmax())
    if not len(beyond):
        sentence = (
            f"On average, hidden states stay within 1 − cos = {HIDDEN:g} at every depth: at most {digits(turned[most])}, "
            f"{_at(most)}."
        )
    elif beyond[0] <= 1:
        sentence = (
            f"On average, hidden states exceed 1 − cos = {HIDDEN:g} immediately: {_past(turned[beyond[0]])} {_at(beyond[0])}."
        )
    else:
        sentence = (
            f"On average, hidden states stay within 1 − cos = {HIDDEN:g} up to layer {beyond[0] - 2} and are at "
            f"{_past(turned[beyond[0]])} {_at(beyond[0])}."
        )
    jump = int(np.diff(turned).argmax()) if len(turned) > 1 else 0
    if len(turned) > 1 and turned[jump + 1] > turned[jump]:
        sentence += f" The largest step is in layer {jump}, from {digits(turned[jump])} to {digits(turned[jump + 1])}."
    h, z, p = (1 - getattr(found.cumulative, f"{space}_cosine")[-1] for space in "hzp")
    order = sorted({"hidden states": h, "logits": z, "probabilities": p}.items(), key=lambda each: each[1])
    listed = " < ".join(f"{name} {digits(value)}" for name, value in order)
    return [sentence, f"At the output, 1 − cos: {listed}; KL {digits(found.cumulative.kl[-1])} nats."]


def _at(depth: int) -> str:
    return "at the embedding" if depth == 0 else f"after layer {depth - 1}"


def _steps(found: DriftResult) -> list[str]:
    """When probabilities leave the dense ones on the dense text, and the worst token."""
    mean = 1 - found.forced_spread["p_cosine"][:, 0]
    beyond = np.flatnonzero(above(mean, PROBABILITIES))  # a NaN, where every text has ended, is not beyond
    steps = int(np.isfinite(mean).sum())
    if len(beyond):
        first = f"On the dense text, probabilities on average exceed 1 − cos = {PROBABILITIES:g} at step {beyond[0] + 1}"
    else:
        within = f"within 1 − cos = {PROBABILITIES:g} over all {plural(steps, 'step')}"
        first = f"On the dense text, probabilities on average stay {within}"
    kl = found.forced["kl"]
    prompt, step = np.unravel_index(np.nanargmax(kl), kl.shape)
    piece = found.dense_pieces[prompt][step].strip().replace("\n", "⏎")
    where = f" (‘{piece}’)" if piece else ""
    worst = f"worst is step {step + 1} of prompt {prompt + 1}{where} with {digits(kl[prompt, step])} nats"
    return [f"{first}; KL is {digits(np.nanmean(kl))} nats per step, {worst}."]


def _texts(found: DriftResult) -> list[str]:
    """When free texts part, and whether they turn in circles."""
    count, parted = len(found.prompts), [each for each in found.divergence if each is not None]
    if not parted:
        return ["In free generation, every text matches the dense one."]
    when = f"{len(parted)} of {plural(count, 'text')} diverge, the median at step {int(np.median(parted)) + 1}"
    rouge = f"they share {percent(mean(found.rouge_l))} of their words in order (ROUGE-L)"
    ours, dense = mean(found.repetition), mean(found.dense_repetition)
    if repeats(found):
        again = f"free generation repeats itself: on average, {percent(ours)} of 4-grams are repeated (dense {percent(dense)})"
    elif np.isfinite(ours):
        again = f"{percent(ours)} of 4-grams are repeated (dense {percent(dense)})"
    else:
        again = "they are too short to contain repetition"
    return [f"In free generation, {when}; {rouge}; {again}."]


def _choices(found: ChoiceResult) -> str:
    name, way = judged(found)
    sentence = (
        f"Multiple choice, {name}: the same choice in {percent(way.agreement)} of {plural(found.items, 'item')}, accuracy "
        f"{percent(way.accuracy)} (dense {percent(way.dense_accuracy)}, guessing {percent(found.chance)})"
    )
    kl, inside = way.means["kl"], way.means["option_kl"]
    sentence += (
        f"; KL {digits(kl)} nats over the vocabulary, {digits(inside)} over the options." if np.isfinite(inside) else "."
    )
    if limits.choice(found) is None:
        sentence += (
            f" On these items the dense model is at most {100 * limits.GUESSING:.0f} points above guessing, so they say "
            "nothing about multiple choice."
        )
    return sentence


def _conclusion(uses: dict[str, Judged]) -> str:
    """What the plan suits, in one sentence."""
    kinds = {kind: [name for name, use in uses.items() if use.word == kind] for kind in (WELL, PARTLY, BADLY, UNSURE)}
    well, partly, badly, unsure = kinds.values()
    parts = []
    if well:
        parts.append(f"suits {_listed(well)}" + (f", not {_listed(badly, 'or')}" if badly else ""))
    elif badly:
        parts.append(f"does not suit {_listed(badly, 'or')}")
    if partly:
        parts.append(f"changes {_listed(partly)} without breaking it: read the texts")
    sentence = f"This plan {'; it '.join(parts)}." if parts else ""
    told = f"There is too little text to say whether it suits {_listed(unsure, 'or')}: measure more." if unsure else ""
    return " ".join(each for each in (sentence, told) if each)


def _listed(names: Sequence[str], word: str = "and") -> str:
    return f" {word} ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def _past(turned: float) -> str:
    """A number that has left `HIDDEN`, with as many digits as it takes to see that."""
    return next(text for digits in range(2, 12) if float(text := f"{turned:.{digits}g}") > HIDDEN)
