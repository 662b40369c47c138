"""All that is known of the plans of one model, in a row each."""

from dataclasses import dataclass, replace

from probes.answer import Answer
from probes.decision.book import Noted
from probes.decision.pairs import window_interval
from probes.known import Known
from probes.question import Question


@dataclass(frozen=True)
class Row:
    """One plan; None where nobody measured it.

    Attributes
    ----------
    noted : Noted
    perplexity, kl, kl_low, kl_high, agreement : float or None
        On the text at hand; KL in nats per token with its 95 % interval over windows, agreement of the likeliest token.
    accuracy : float or None
        Of the built-in multiple-choice items, by the option's text.
    score : float or None
        Of the tasks that were chosen.
    prefill, decode : float or None
        How many times as fast as the dense model, on this machine.
    """

    noted: Noted
    perplexity: float | None = None
    kl: float | None = None
    kl_low: float | None = None
    kl_high: float | None = None
    agreement: float | None = None
    accuracy: float | None = None
    score: float | None = None
    prefill: float | None = None
    decode: float | None = None


PROBES = ("fidelity", "choice_subspace", "evaluate", "speed")  # whose answers are in a row


def answers(known: Known, question: Question, params: dict[str, dict]) -> dict[str, dict[str, Answer]]:
    """Every answer on a model and text by probe and plan.

    Parameters
    ----------
    question : Question
        Of which model and text.
    params : dict of str to dict
        Parameters by probe, where they are not the defaults.
    """
    return {probe: dict(known.tried(replace(question, probe=probe, plan="", params=params.get(probe, {})))) for probe in PROBES}


def rows(found: dict[str, dict[str, Answer]], notes: dict[str, Noted]) -> list[Row]:
    """A row for each plan that was measured or noted: pinned ones first, then by KL."""
    plans = dict.fromkeys(plan for plan in [*notes, *(plan for each in found.values() for plan in each)] if plan)
    made = [_row(notes.get(plan, Noted(plan)), {probe: each.get(plan) for probe, each in found.items()}) for plan in plans]
    return sorted(made, key=lambda row: (not row.noted.pinned, row.kl is None, row.kl or 0.0, row.noted.plan))


def _row(noted: Noted, there: dict[str, Answer | None]) -> Row:
    results = {probe: answer.result for probe, answer in there.items() if answer}
    values: dict[str, float] = {}
    if fidelity := results.get("fidelity"):
        low, high = window_interval(fidelity)
        values |= {"perplexity": fidelity.perplexity, "kl": fidelity.kl, "kl_low": low, "kl_high": high}
        values["agreement"] = fidelity.top1_agreement
    if choice := results.get("choice_subspace"):
        values["accuracy"] = choice.texts.accuracy
    if tasks := results.get("evaluate"):
        values["score"] = tasks.score
    if speed := results.get("speed"):
        values |= {"prefill": speed.prefill.ratio, "decode": speed.decode.ratio}
    return Row(noted, **values)
