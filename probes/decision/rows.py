"""What a row of the table of plans shows, and how it follows from the answers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from measures.likelihood import perplexity
from models.anatomy import Anatomy
from plans.operation import Shape
from plans.plan import EMPTY, parse
from probes.choice.choice_subspace import ChoiceResult
from probes.decision.book import Noted
from probes.decision.pairs import window_interval
from probes.deviation.fidelity import FidelityResult
from probes.search.budget import LETTERS, budget
from probes.search.search import SearchResult
from probes.speed.speed import SpeedResult
from probes.tasks.evaluate import EvaluateResult
from refusal import Refusal

Numbers = dict[str, Any]  # some fields of a row
_UNITS = {"saved": "parameters", "cache": "cache"}


@dataclass(frozen=True)
class Row:
    """One plan; None where nobody measured it.

    Attributes
    ----------
    noted : Noted
    saved, cache : float or None
        Shares of the dense model's parameters, and of its key-value cache, that the plan does without.
    perplexity, kl, kl_low, kl_high, agreement : float or None
        On the text at hand; KL in nats per token with its 95 % interval over windows, agreement of the likeliest token.
    windows : int or None
        Over how many windows of the text these are means.
    held_out : bool or None
        A search measured them, and on the windows that nothing was chosen on.
    accuracy : float or None
        Of the built-in multiple-choice items, by the option's text.
    score : float or None
        Of the tasks that were chosen.
    prefill, decode : float or None
        How many times as fast as the dense model, on this machine.
    disturbed : str
        What else the machine had to do while these two were measured; empty: nothing.
    """

    noted: Noted
    saved: float | None = None
    cache: float | None = None
    perplexity: float | None = None
    kl: float | None = None
    kl_low: float | None = None
    kl_high: float | None = None
    agreement: float | None = None
    windows: int | None = None
    held_out: bool | None = None
    accuracy: float | None = None
    score: float | None = None
    prefill: float | None = None
    decode: float | None = None
    disturbed: str = ""


class Savings:
    """What plans save, by arithmetic on what the dense model is made of."""

    def __init__(self, dense: Anatomy) -> None:
        self._shape = Shape(dense.layers)
        self._limits = {name: budget(unit, dense, EMPTY, tuple(LETTERS)) for name, unit in _UNITS.items()}

    def of(self, plan: str) -> Numbers:
        """Shares of the dense model; nothing where the plan cannot be read."""
        try:
            read = parse(plan)
            read.checked(self._shape)
        except Refusal:  # noted by a later version, or of another model
            return {}
        return {name: each.saved(read) / max(1.0, each.total) for name, each in self._limits.items()}


def numbers(plan: str, result: Any) -> dict[str, Numbers]:
    """What an answer says in rows, by plan; ``plan`` is that of the question."""
    if isinstance(result, SearchResult):
        return _searched(result)
    return {plan: _OF[type(result)](result)} if plan else {}


def _fidelity(result: FidelityResult) -> Numbers:
    low, high = window_interval(result)
    return {
        "perplexity": result.perplexity, "kl": result.kl, "kl_low": low, "kl_high": high, "agreement": result.top1_agreement,
        "windows": len(result.token_kl), "held_out": False,
    }  # fmt: skip


def _searched(result: SearchResult) -> dict[str, Numbers]:
    """The plans that were chosen; those drawn at random are there to be beaten, and not to be chosen."""
    return {
        plan: {
            "perplexity": float(perplexity(result.nll[i])), "kl": float(result.kl[i]), "kl_low": float(result.kl_low[i]),
            "kl_high": float(result.kl_high[i]), "agreement": float(result.top1[i]), "windows": result.judged_windows,
            "held_out": True,
        }
        for i, plan in enumerate(result.plans)
        if result.strategies[i] != "random" and plan
    }  # fmt: skip


def _speed(result: SpeedResult) -> Numbers:
    where = result.circumstances
    return {
        "prefill": result.prefill.ratio,
        "decode": result.decode.ratio,
        "disturbed": "" if where.quiet else where.says,
    }


_OF: dict[type, Callable[[Any], Numbers]] = {
    FidelityResult: _fidelity,
    ChoiceResult: lambda result: {"accuracy": result.texts.accuracy},
    EvaluateResult: lambda result: {"score": result.score},
    SpeedResult: _speed,
}
