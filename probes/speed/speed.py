"""How fast a plan makes a model, and what memory it takes: dense and pruned alternately, on this machine, now.

Reading the prompt (prefill) and writing after it (decode) are told apart: the first is limited by arithmetic, the second by
memory. A time depends on the machine and the moment, so the answer belongs to the machine, names the circumstances, and
compares in pairs: a round times one model and right after it the other, in alternating order.
"""

from dataclasses import dataclass

import numpy as np
import torch

from models.anatomy import anatomy, size_of, weights_of
from models.subject import Subject
from models.view import View, cache_bytes
from plans.cost import cost
from plans.cut import Calibrated, cut, plan_of
from plans.plan import EMPTY, Plan
from probes.base import Probe
from probes.speed.machine import Circumstances, Watch
from probes.speed.pace import Pace, pace
from probes.speed.runs import Run, timed, warmed, weighed
from refusal import Progress, Refusal, silent
from texts.corpus import Corpus

FEWEST = 5  # rounds: a median and an interval of fewer say nothing


@dataclass(frozen=True)
class SpeedParams:
    """What is run.

    Attributes
    ----------
    batch : int
        Sequences at once.
    prompt, new : int
        Tokens of each that are read at once, then one at a time.
    rounds : int
        Pairs of runs, at least 5.
    """

    batch: int = 1
    prompt: int = 128
    new: int = 32
    rounds: int = 10

    def __post_init__(self) -> None:
        for name in ("batch", "prompt", "new"):
            if getattr(self, name) < 1:
                raise Refusal(f"{name} is {getattr(self, name)}. Write a number of at least 1.")
        if self.rounds < FEWEST:
            raise Refusal(f"{self.rounds} rounds are too few to tell a difference from chance. Write at least {FEWEST}.")


@dataclass(frozen=True)
class Memory:
    """Bytes, dense and pruned.

    Attributes
    ----------
    kind : str
        What a peak is of: the tensors on the GPUs, or the resident set of the whole process.
    dense_before, dense_peak, before, peak : int
        Before a run and at its peak. Both hold the dense weights, which the pruned model shares; the difference is what
        the run took: activations and the cache.
    dense_weights, weights : int
        Counted.
    dense_cache, cache : int
        Keys and values after the last step, measured on the cache itself.
    dense_cache_expected, cache_expected : int
        Cache per token times tokens; a layer with a sliding window keeps no more than its window, and stays below this.
    """

    kind: str
    dense_before: int
    dense_peak: int
    before: int
    peak: int
    dense_weights: int
    weights: int
    dense_cache: int
    cache: int
    dense_cache_expected: int
    cache_expected: int


@dataclass(frozen=True)
class SpeedResult:
    """Speed and memory of a plan. ``batch, prompt, new, rounds`` are those that were asked for."""

    batch: int
    prompt: int
    new: int
    rounds: int
    prefill: Pace
    decode: Pace
    memory: Memory
    circumstances: Circumstances


def _run(
    subject: Subject, corpus: Corpus | None, plan: Plan | Calibrated, params: SpeedParams, progress: Progress = silent
) -> SpeedResult:
    """Time and weigh a plan against the dense model; with the empty plan two copies of the dense model."""
    if subject.context is not None and params.prompt + params.new > subject.context:
        raise Refusal(
            f"A prompt of {params.prompt} tokens and {params.new} new ones are {params.prompt + params.new}, but this model "
            f"reads at most {subject.context}. Make one of them shorter."
        )
    total = params.rounds + 2
    progress(0, total, "warming up both models")
    runs = [_made(subject, view, params) for view in (cut(subject, EMPTY), cut(subject, plan))]
    caches = [cache_bytes(warmed(run, whose)) for run, whose in zip(runs, ("dense", "pruned"), strict=True)]
    watch, times = Watch(), np.empty((params.rounds, 2, 2))  # rounds, dense and pruned, prefill and decode
    for place in range(params.rounds):
        for which in (0, 1) if place % 2 == 0 else (1, 0):
            progress(1 + place, total, f"round {place + 1} of {params.rounds}")
            times[place, which] = timed(runs[which])
            watch.look()
    said = watch.over(subject.device, subject.dtype, getattr(subject.config, "_attn_implementation", None) or "unknown")
    progress(total - 1, total, "measuring memory")
    tokens = params.batch * params.prompt, params.batch
    return SpeedResult(
        batch=params.batch,
        prompt=params.prompt,
        new=params.new,
        rounds=params.rounds,
        prefill=pace(times[:, 0, 0], times[:, 1, 0], tokens[0]),
        decode=pace(times[:, 0, 1] / params.new, times[:, 1, 1] / params.new, tokens[1]),
        memory=_memory(subject, plan_of(plan), runs, caches),
        circumstances=said,
    )


def _made(subject: Subject, view: View, params: SpeedParams) -> Run:
    dice = torch.Generator().manual_seed(0)
    ids = torch.randint(subject.config.vocab_size, (params.batch, params.prompt + params.new), generator=dice)
    return Run(view, *ids.to(subject.device).split([params.prompt, params.new], 1))


def _memory(subject: Subject, plan: Plan, runs: list[Run], caches: list[int]) -> Memory:
    """Weigh both, after the timing, so that looking at the memory disturbs no time."""
    parts = anatomy(subject)
    per_token = parts.cache_bytes, cost(subject, plan, parts).cache_bytes
    tokens = sum(each.numel() for each in (runs[0].prompt, runs[0].new))
    (dense_before, dense_peak), (before, peak) = (weighed(run) for run in runs)
    return Memory(
        kind="tensors on the GPU" if subject.device.type == "cuda" else "resident set of the whole process",
        dense_before=dense_before,
        dense_peak=dense_peak,
        before=before,
        peak=peak,
        dense_weights=size_of(weights_of([runs[0].view.model]))[1],
        weights=size_of(weights_of([runs[1].view.model]))[1],
        dense_cache=caches[0],
        cache=caches[1],
        dense_cache_expected=per_token[0] * tokens,
        cache_expected=per_token[1] * tokens,
    )


PROBE = Probe(
    name="speed",
    title="Speed and memory",
    version=1,
    params=SpeedParams,
    result=SpeedResult,
    run=_run,
    takes_plan=True,
    takes_corpus=False,
    by_machine=lambda params: True,
    writes=("new",),
    holds=lambda params: params.batch * (params.prompt + params.new),
)
