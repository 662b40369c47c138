"""Which plan costs least under a budget: chosen on the first half of a text's windows, judged on the second.

What is measured is always the KL of the whole plan against the dense model, never a sum over its parts. Nothing is chosen on
the windows that judge, so the numbers of what was chosen are not flattered by the choice.

References
----------
arXiv 2410.14649 (EvoPress), 2406.15786 (one-shot by similarity), 2604.24938 (how much the calibration text matters).
"""

from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import torch

from measures.significance.intervals import bootstrap
from models.anatomy import anatomy
from models.subject import Subject
from plans.plan import Plan
from probes.base import Probe
from probes.deviation.dense import DenseSide
from probes.search import strategies
from probes.search.budget import UNITS, Budget, budget
from probes.search.cheap import PASSES, cheap_scores
from probes.search.continued import continued
from probes.search.measured import Measured
from probes.search.pace import part_times
from probes.search.params import SearchParams
from probes.speed.machine import Watch
from refusal import Progress, Refusal, plural, silent
from texts.corpus import Corpus

_LEAST = 4  # windows: two to choose on, and two to judge, below which there is no interval


@dataclass(frozen=True)
class SearchResult:
    """Plans by strategy and budget. Lists and first axes of arrays have one entry per plan, in the order they were chosen.

    Attributes
    ----------
    unit : str
    total : float
        Of the dense model, in the unit.
    base : str
        What every plan begins with.
    strategies, plans : list of str
    shares, saved : float64 arrays
        The budget each plan was chosen for, and what it saves, both as shares of the dense model.
    chosen_kl : float64 array
        Mean KL(dense‖plan) in nats on the windows it was chosen on.
    kl, nll, top1 : float64 arrays
        On the windows that judge: KL(dense‖plan) and negative log-likelihood in nats, agreement of the likeliest token.
    kl_low, kl_high : float64 arrays
        95 % bootstrap interval of ``kl`` over windows.
    window_kl : float64 array of shape (plans, judging windows)
    continued_kl : float64 array of shape (plans, judging windows)
        The same on what the dense model writes after each window; no columns if that was not asked.
    items : list of str
        The single drops.
    single_kl : float64 array of shape (items, choosing windows)
        KL(dense‖base with one drop).
    spent : dict of str to float
        Forward passes over one window that each strategy needs to choose all its plans, with what it builds on.
    tried : int
        Plans known on this text.
    chosen_windows, judged_windows, length : int
    timed : str
        How quiet the machine was while the sublayers were timed, for the unit ``milliseconds``; else empty.
    """

    unit: str
    total: float
    base: str
    strategies: list[str]
    plans: list[str]
    shares: np.ndarray
    saved: np.ndarray
    chosen_kl: np.ndarray
    kl: np.ndarray
    nll: np.ndarray
    top1: np.ndarray
    kl_low: np.ndarray
    kl_high: np.ndarray
    window_kl: np.ndarray
    continued_kl: np.ndarray
    items: list[str]
    single_kl: np.ndarray
    spent: dict[str, float]
    tried: int
    chosen_windows: int
    judged_windows: int
    length: int
    timed: str = ""


def _run(
    subject: Subject,
    corpus: Corpus,
    plan: Plan,
    params: SearchParams,
    progress: Progress = silent,
    dense: DenseSide | None = None,
    memory: MutableMapping[str, dict[str, Any]] | None = None,
) -> SearchResult:
    if plan.learning:
        raise Refusal(
            f"A search starts from drops alone, and '{plan.learning[0]}' would have to learn from a text for every plan "
            "tried. Search without it, then add it to the plan found."
        )
    tokens = torch.from_numpy(corpus.tokens).to(subject.device)
    half = _half(len(tokens))
    choose, judge = tuple(range(half)), tuple(range(half, len(tokens)))
    times, timed = _timed(subject, tokens[0]) if params.unit == "milliseconds" else (None, "")
    limits = budget(params.unit, anatomy(subject), plan, params.kinds, times)
    measured = Measured(subject, tokens, dense, memory)
    chosen, spent, single = _chosen(subject, tokens[:half], limits, measured, choose, params, progress)
    return SearchResult(
        unit=params.unit,
        total=limits.total,
        base=str(plan),
        strategies=[name for name, _, _ in chosen],
        plans=[str(found) for _, _, found in chosen],
        shares=np.array([share for _, share, _ in chosen]),
        saved=np.array([limits.saved(found) / limits.total for _, _, found in chosen]),
        **_judged(measured, [found for _, _, found in chosen], choose, judge, progress),
        continued_kl=continued(subject, tokens[half:], [found for _, _, found in chosen], params.continuation, progress),
        items=list(limits.items),
        single_kl=single,
        spent=spent,
        tried=measured.plans,
        chosen_windows=len(choose),
        judged_windows=len(judge),
        length=tokens.shape[1],
        timed=timed,
    )


def _half(windows: int) -> int:
    """How many windows are chosen on."""
    if windows < _LEAST:
        raise Refusal(
            f"The text has {plural(windows, 'window')}, too few to select on one half and measure the other with an interval. "
            f"Ask for {_LEAST} windows or more, shorter ones, or a longer text."
        )
    return windows // 2


def _judged(
    measured: Measured, plans: list[Plan], choose: tuple[int, ...], judge: tuple[int, ...], progress: Progress
) -> dict[str, np.ndarray]:
    """Fields of the result that are measured on whole plans."""
    first = measured.of(plans, choose)
    rows = measured.of(plans, judge, lambda done, every, text: progress(done, every, f"judging {text}"))
    low, high = bootstrap(rows[..., 0].T)
    kl, nll, top1 = rows.mean(1).T
    return {
        "chosen_kl": first[..., 0].mean(1),
        "kl": kl,
        "nll": nll,
        "top1": top1,
        "kl_low": low,
        "kl_high": high,
        "window_kl": rows[..., 0],
    }


def _chosen(
    subject: Subject,
    tokens: torch.Tensor,
    limits: Budget,
    measured: Measured,
    windows: tuple[int, ...],
    params: SearchParams,
    progress: Progress,
) -> tuple[list[tuple[str, float, Plan]], dict[str, float], np.ndarray]:
    """Strategy, share and plan of everything chosen; what each strategy spent; KL of single drops, (items, windows)."""
    if not limits.items:
        raise Refusal(f"Nothing that may be dropped saves {UNITS[limits.unit]}. Allow other parts to be dropped.")
    limits.taken(limits.items, params.shares[-1])  # before minutes are spent on a budget that cannot be met
    done = 0

    def step(text: str) -> None:
        progress(done, len(params.names), text)

    field = strategies.Field(limits, measured, windows, params.shares, np.random.default_rng(params.seed), step)
    step("single drops")
    single = measured.with_each(limits.base, limits.items, windows, lambda share, of, text: step("single drops"))[..., 0]
    needs = {name: passes * len(windows) for name, passes in PASSES.items()}
    needs |= dict.fromkeys(("kl", "knapsack", "greedy", "swaps"), measured.passes)
    scan = dict(zip(limits.items, single.mean(1).tolist(), strict=True))
    cheap = cheap_scores(subject, tokens, limits.items, params.names, lambda share, of, text: step(text))
    ways = _ways(field, scan, cheap, params)
    chosen, spent = [], {}
    for name in params.names:
        before = measured.passes
        step(name)
        if name == "random":
            drawn = strategies.by_chance(field, params.draws)
            chosen += [(name, share, plan) for share, plans in zip(params.shares, drawn, strict=True) for plan in plans]
        else:
            chosen += [(name, share, plan) for share, plan in zip(params.shares, ways[name](), strict=True)]
        spent[name] = needs.get(name, 0.0) + measured.passes - before
        if name == "greedy":  # where swaps begin
            needs["swaps"] = spent[name]
        done += 1
    return chosen, spent, single


def _timed(subject: Subject, window: torch.Tensor) -> tuple[tuple[np.ndarray, np.ndarray, float], str]:
    """How long each part takes, and how quiet the machine was meanwhile."""
    watch = Watch()
    times = part_times(subject, window, watch.look)
    return times, watch.over(subject.device, subject.dtype).says


def _ways(
    field: strategies.Field, scan: dict[str, float], cheap: dict[str, dict[str, float]], params: SearchParams
) -> dict[str, Callable[[], list[Plan]]]:
    """Strategies that give one plan for each share; greedy runs once, for itself and as what swaps begin with."""
    first = cache(lambda: strategies.greedy(field, scan, params.again))
    one_shot = {name: partial(strategies.one_shot, field, scores) for name, scores in cheap.items()}
    return one_shot | {
        "kl": lambda: strategies.one_shot(field, scan),
        "span": lambda: strategies.span(field),
        "balanced": lambda: strategies.balanced(field),
        "knapsack": lambda: strategies.knapsack(field, scan),
        "greedy": first,
        "swaps": lambda: strategies.swaps(field, first(), params.generations, params.offspring),
    }


PROBE = Probe(
    "search", "Plans under a budget", 1, SearchParams, SearchResult, _run, takes_plan=True, applies_plan=False,
    dense_side=DenseSide, remembers=1, by_machine=lambda params: params.unit == "milliseconds", writes=("continuation",),
)  # fmt: skip
