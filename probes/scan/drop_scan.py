"""What each attention, MLP and block costs, found by leaving it out: cause, where similarity is correlation.

Each is dropped alone, from the dense model or on top of a plan, and the predictions are compared with the dense model's. Beside
it stand scores that need no drop, how well they rank what was measured, and what a skipped layer changes in later ones.
"""

from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from measures.significance.intervals import bootstrap
from models.batching import step_text
from models.subject import Subject
from plans.cut import Calibrated, plan_of
from plans.plan import Plan
from probes.base import Probe
from probes.deviation.dense import DenseSide
from probes.scan.agreement import rank_agreement
from probes.scan.damage import OnShare, Scan, candidates
from probes.scan.scores import PARTS, SCORES, Loss, window_scores
from probes.scan.skips import MODES, depth_score, skip_effects, split_points
from refusal import Progress, Refusal, silent
from texts.corpus import Corpus

_MOST = 16  # splits: each costs as much as a third of the drops


@dataclass(frozen=True)
class DropScanParams:
    """How to measure.

    Attributes
    ----------
    splits : int
        At how many points of each window the skip effects on later tokens are measured; 0: no skip effects at all.
    seed : int
        Of the split points and of the resampling.

    Raises
    ------
    Refusal
        The number of splits is not valid.
    """

    splits: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.splits <= _MOST:
            raise Refusal(f"{self.splits} split points are not valid. Write a number from 0 to {_MOST}.")
        if self.seed < 0:
            raise Refusal(f"The seed {self.seed} is negative. Write 0 or more.")


@dataclass(frozen=True)
class Part:
    """Drops of one kind, each list by layer of the dense model; NaN where the plan left nothing to drop.

    Attributes
    ----------
    kl : list of float
        Mean KL(dense‖without it) in nats per token.
    loss : list of float
        Change of the mean negative log-likelihood in nats per token, against the plan it was dropped on top of.
    agreement : list of float
        Share of tokens whose likeliest next token is the dense model's.
    kl_low … agreement_high : list of float
        95 % bootstrap intervals over windows; NaN with a single window.
    similarity, length, gradient, gradient_size : list of float
        Scores without dropping, see `probes.scan.scores.window_scores`.
    """

    kl: list[float]
    kl_low: list[float]
    kl_high: list[float]
    loss: list[float]
    loss_low: list[float]
    loss_high: list[float]
    agreement: list[float]
    agreement_low: list[float]
    agreement_high: list[float]
    similarity: list[float]
    length: list[float]
    gradient: list[float]
    gradient_size: list[float]


@dataclass(frozen=True)
class DropScanResult:
    """Everything the probe found.

    Attributes
    ----------
    layers, tokens, windows : int
        Layers of the dense model; predicted tokens; windows.
    base_kl, base_loss, base_agreement : float
        Of the plan alone: KL(dense‖plan) and negative log-likelihood in nats per token, agreement of the likeliest token.
    attention, mlp, block : Part
    agreements : list of dict
        Rank correlations of each score with the KL, see `probes.scan.agreement.rank_agreement`.
    skip_current, skip_future : float64 arrays of shape (layers, layers)
        Skipped layer by later layer: the largest relative change of what the later one adds, over windows and positions, on the
        tokens that skip and on those after them. NaN below the diagonal and where there is no such block.
    depth : dict of str to list of float
        ``current`` and ``future``: the mean depth score over windows, and its 95 % interval. It counts the blocks that the plan
        leaves, from 0.
    """

    layers: int
    tokens: int
    windows: int
    base_kl: float
    base_loss: float
    base_agreement: float
    attention: Part
    mlp: Part
    block: Part
    agreements: list[dict[str, Any]]
    skip_current: np.ndarray
    skip_future: np.ndarray
    depth: dict[str, list[float]]


def _run(
    subject: Subject,
    corpus: Corpus,
    plan: Plan | Calibrated,
    params: DropScanParams,
    progress: Progress = silent,
    dense: DenseSide | None = None,
    memory: MutableMapping[str, dict[str, Any]] | None = None,
) -> DropScanResult:
    """Measure a subject; windows in ``memory`` are not measured again."""
    tokens = torch.from_numpy(corpus.tokens).to(subject.device)
    if memory is None or plan_of(plan).learning:
        memory = {}  # what a plan learned is not in the names below
    items = candidates(plan_of(plan), subject.layers)
    if not items:
        raise Refusal("The plan drops every block, so nothing is left to drop. Scan a plan that keeps some.")
    scan = Scan(subject, plan, items, tokens, dense)
    loss, found = Loss(subject), []
    for i in range(len(tokens)):
        name, text = f"{plan_of(plan)} {params.splits} {params.seed} {i}", step_text(i, 1, len(tokens))
        if name not in memory:
            memory[name] = _window(scan, loss, tokens, i, params, lambda x, i=i, t=text: progress(i + x, len(tokens), t))
        found.append(memory[name])
    windows = {what: np.stack([each[what] for each in found]) for what in found[0]}
    return _result(scan, subject.layers, windows, tokens[:, 1:].numel(), params)


def _window(
    scan: Scan, loss: Loss, tokens: torch.Tensor, i: int, params: DropScanParams, on_share: OnShare
) -> dict[str, np.ndarray]:
    """One window: ``damage`` (1 + items, 3), ``scores`` (4, 3, blocks) and ``skips`` (2, blocks, blocks)."""
    drops = 5 / (6 + params.splits) if params.splits else 1.0  # of the work, roughly: 3 passes and their head, and the skips'
    damage = scan.window(i, lambda share: on_share(drops * share))
    scores = window_scores(scan.prefix, loss, tokens[i, 1:])
    blocks = len(scan.prefix.view.layers)
    skips = np.full((len(MODES), blocks, blocks), np.nan)
    if params.splits:
        splits = split_points(tokens.shape[1], params.splits, params.seed + i)
        skips = skip_effects(scan.prefix, splits, scan.pass_bytes, lambda share: on_share(drops + (1 - drops) * share))
    return {"damage": damage, "scores": scores, "skips": skips}


def _result(scan: Scan, layers: int, windows: dict[str, np.ndarray], tokens: int, params: DropScanParams) -> DropScanResult:
    damage, blocks = windows["damage"], list(scan.prefix.view.blocks)
    values = damage[:, 1:].copy()
    values[..., 1] -= damage[:, :1, 1]  # the change of the loss
    low, high = bootstrap(values, seed=params.seed)
    tables = [_by_layer(each, scan.items, layers) for each in (values.mean(0), low, high)]
    there = np.isfinite(tables[0][0])
    scores = np.full((len(SCORES), len(PARTS), layers), np.nan)
    scores[:, :, blocks] = windows["scores"].mean(0)
    scores[:, ~there] = np.nan
    names = ("kl", "loss", "agreement")
    parts = {}
    for k, part in enumerate(PARTS):
        ends = zip(("", "_low", "_high"), tables, strict=True)
        measured = {f"{name}{end}": table[m, k].tolist() for end, table in ends for m, name in enumerate(names)}
        parts[part] = Part(**measured, **{name: score[k].tolist() for name, score in zip(SCORES, scores, strict=True)})
    base = damage[:, 0].mean(0)
    return DropScanResult(
        layers=layers,
        tokens=tokens,
        windows=len(damage),
        base_kl=float(base[0]),
        base_loss=float(base[1]),
        base_agreement=float(base[2]),
        **parts,
        agreements=rank_agreement(_cheap(scores), tables[0][0]),
        **{f"skip_{mode}": _spread(each, blocks, layers) for mode, each in zip(MODES, windows["skips"].max(0), strict=True)},
        depth={mode: _depth(windows["skips"][:, m], params.seed) for m, mode in enumerate(MODES)},
    )


def _cheap(scores: np.ndarray) -> dict[str, np.ndarray]:
    """What is ranked against the KL: also the size of the estimate, as the KL cannot fall below 0 where the loss can."""
    named = dict(zip(SCORES, scores, strict=True))
    return named | {"gradient_absolute": np.abs(named["gradient"])}


def _by_layer(rows: np.ndarray, items: tuple[str, ...], layers: int) -> np.ndarray:
    """Rows of items (items, 3) as (3, parts, layers); NaN where there is no item."""
    table = np.full((3, len(PARTS), layers), np.nan)
    letters = [part[0] for part in PARTS]
    for item, row in zip(items, rows, strict=True):
        table[:, letters.index(item[0]), int(item[1:])] = row
    return table


def _spread(effects: np.ndarray, blocks: list[int], layers: int) -> np.ndarray:
    """Effects between the blocks of a view, by layers of the dense model; NaN below the diagonal, which is the past."""
    found = np.full((layers, layers), np.nan)
    found[np.ix_(blocks, blocks)] = np.where(np.tri(len(blocks), k=-1, dtype=bool), np.nan, effects)
    return found


def _depth(effects: np.ndarray, seed: int) -> list[float]:
    """Mean depth score and its interval, from effects (windows, blocks, blocks); NaN where none was measured."""
    scores = np.array([depth_score(each) for each in effects])
    low, high = bootstrap(scores, seed=seed)
    return [float(scores.mean()), float(low), float(high)]


PROBE = Probe(
    "drop_scan",
    "Drop scan",
    1,
    DropScanParams,
    DropScanResult,
    _run,
    takes_plan=True,
    dense_side=DenseSide,
    remembers=1,
)
