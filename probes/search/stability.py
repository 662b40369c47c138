"""Would another calibration text, a BOS token, a chat template or another seed have led to other drops, and does it matter?

The same strategy and budget choose on each variant. How much the choices have in common is one answer; what they cost on the
same windows, which none of them saw, is the other: two different choices may be equally good.

References
----------
arXiv 2604.24938 (how much the calibration text matters).
"""

from collections.abc import MutableMapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from measures.significance.intervals import bootstrap
from measures.significance.paired import verdict
from models.subject import Subject
from plans.drops import dropped
from plans.plan import Plan, parse
from probes.base import Probe
from probes.deviation.dense import DenseSide
from probes.search.measured import Measured
from probes.search.params import STRATEGIES, SearchParams
from probes.search.search import PROBE as SEARCH
from probes.search.variants import SEED, variants
from refusal import Progress, Refusal, silent
from texts.corpus import Corpus, text_digest
from texts.sources import digest_of

_BY_CHANCE = ("swaps", "random")


@dataclass(frozen=True)
class StabilityParams:
    """What is chosen again and again.

    Attributes
    ----------
    strategy : str
        One of `STRATEGIES`.
    unit, share, parts
        As for a search; the share alone is the budget.
    other : str
        Name of another text to choose on; empty: none.
    seed : int
        A strategy that draws is asked with the next one, too.
    """

    strategy: str = "kl"
    unit: str = "sublayers"
    share: float = 0.25
    parts: str = "attention,mlp"
    other: str = "python-docs"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.strategy not in STRATEGIES:
            raise Refusal(f"There is no strategy '{self.strategy}'. Choose one of: {', '.join(STRATEGIES)}.")
        self.search(self.seed)

    def search(self, seed: int) -> SearchParams:
        """What is asked on each variant."""
        return SearchParams(
            unit=self.unit, share=self.share, points=1, parts=self.parts, strategies=self.strategy, draws=1, seed=seed
        )


@dataclass(frozen=True)
class StabilityResult:
    """Choices by variant; the first one is that of the text itself.

    Attributes
    ----------
    layers : int
    variants, plans : list of str
    overlap : float64 array of shape (variants, variants)
        Of the sublayers that either plan drops beyond what both begin with, the share that both do (Jaccard).
    mean_overlap : float
        Over all pairs; NaN with a single variant.
    chance_overlap : float
        Expected of two random choices of so many sublayers among those that may be dropped and save something.
    kl, kl_low, kl_high : float64 arrays of shape (variants,)
        KL(dense‖plan) in nats per token on the second half of the text's windows, on which nothing was chosen, with its 95 %
        bootstrap interval.
    differs : list of bool
        Whether the plan's KL there differs from the first one's by more than chance: there are six windows or more, and the
        95 % interval of the paired difference does not hold 0.
    window_kl : float64 array of shape (variants, judging windows)
    missing : dict of str to str
        Variants that could not be made, and why.
    """

    layers: int
    variants: list[str]
    plans: list[str]
    overlap: np.ndarray
    mean_overlap: float
    chance_overlap: float
    kl: np.ndarray
    kl_low: np.ndarray
    kl_high: np.ndarray
    differs: list[bool]
    window_kl: np.ndarray
    missing: dict[str, str]


def _run(
    subject: Subject,
    corpus: Corpus,
    plan: Plan,
    params: StabilityParams,
    progress: Progress = silent,
    dense: DenseSide | None = None,
    memory: MutableMapping[str, dict[str, Any]] | None = None,
) -> StabilityResult:
    """Choose on every variant; what was chosen already is in ``memory``."""
    if memory is None or params.unit == "milliseconds":
        memory = {}  # times belong to this machine
    found, missing = variants(subject, corpus, params.other)
    asked = {name: (each, params.seed) for name, each in found.items()}
    if params.strategy in _BY_CHANCE:
        asked[SEED] = (corpus, params.seed + 1)
    plans = []
    for i, (name, (each, seed)) in enumerate(asked.items()):
        key = _key(plan, params, name, seed)
        if key not in memory:

            def tell(done: float, total: float, text: str, i: int = i, name: str = name) -> None:
                progress(i + (done / total if total else 0), len(asked), f"{name}: {text}")

            found_here = SEARCH.run(subject, each, plan, params.search(seed), tell, dense if each is corpus else None)
            memory[key] = {
                "plan": found_here.plans[0],
                "candidates": len({x for item in found_here.items for x in _parts(item)}),
            }
        plans.append(memory[key]["plan"])
    candidates = max(memory[_key(plan, params, name, seed)]["candidates"] for name, (_, seed) in asked.items())
    return _result(subject, corpus, plan, list(asked), plans, missing, dense, candidates)


def _key(plan: Plan, params: StabilityParams, variant: str, seed: int) -> str:
    """Under which a choice is kept; another text is another one by its content."""
    asked = asdict(replace(params, other=text_digest(params.other) if params.other else "")) | {"seed": seed}
    asked["version"] = SEARCH.version
    return digest_of(f"{plan} {variant} {sorted(asked.items())}")[:20]


def _result(
    subject: Subject,
    corpus: Corpus,
    base: Plan,
    names: list[str],
    plans: list[str],
    missing: dict[str, str],
    dense: DenseSide | None,
    candidates: int,
) -> StabilityResult:
    tokens = torch.from_numpy(corpus.tokens).to(subject.device)
    judge = range(len(tokens) // 2, len(tokens))
    kl = Measured(subject, tokens, dense).of([parse(each) for each in plans], judge)[..., 0]
    low, high = bootstrap(kl.T)
    apart_low, apart_high = bootstrap((kl - kl[:1]).T)
    sets = [_sublayers(parse(each)) - _sublayers(base) for each in plans]
    overlap = np.array([[_jaccard(a, b) for b in sets] for a in sets])
    pairs = overlap[np.triu_indices(len(sets), 1)]
    return StabilityResult(
        layers=subject.layers,
        variants=names,
        plans=plans,
        overlap=overlap,
        mean_overlap=float(pairs.mean()) if len(pairs) else float("nan"),
        chance_overlap=chance_overlap(len(sets[0]), candidates),
        kl=kl.mean(1),
        kl_low=low,
        kl_high=high,
        differs=[
            bool(verdict(float(each.mean()), float(a), float(b), len(judge)))
            for each, a, b in zip(kl - kl[:1], apart_low, apart_high, strict=True)
        ],
        window_kl=kl,
        missing=missing,
    )


def _sublayers(plan: Plan) -> frozenset[str]:
    drops = dropped(plan)
    return frozenset([f"a{i}" for i in drops.no_attention] + [f"m{i}" for i in drops.no_mlp])


def _jaccard(first: frozenset[str], second: frozenset[str]) -> float:
    either = first | second
    return len(first & second) / len(either) if either else 1.0


def _parts(item: str) -> list[str]:
    """The sublayers that a single drop takes."""
    return [f"a{item[1:]}", f"m{item[1:]}"] if item[0] == "b" else [item]


def chance_overlap(size: int, candidates: int) -> float:
    """The Jaccard overlap of two random sets of one size, about: expected common part over what that leaves."""
    both = size**2 / max(candidates, size)
    return both / (2 * size - both) if size else 1.0


PROBE = Probe(
    "stability", "Stability of a choice", 1, StabilityParams, StabilityResult, _run, takes_plan=True, applies_plan=False,
    texts=("other",), dense_side=DenseSide, remembers=1, by_machine=lambda params: params.unit == "milliseconds",
)  # fmt: skip
