"""The similarity probe: its time against a bare forward pass and against three passes, and its memory."""

import subprocess
import sys
from pathlib import Path
from statistics import median

import numpy as np
import torch

from benchmarks.passes import bare, three_passes
from benchmarks.timing import Line, in_turns, ratio
from models.subject import Subject
from plans.plan import Plan
from probes.base import NoParams
from probes.redundancy.similarity import PROBE
from texts.corpus import CorpusRef, read_corpus

ROOT = Path(__file__).parent.parent


def speed(subject: Subject, windows: int, rounds: int) -> list[Line]:
    """One pass with all statistics, a bare forward pass over the same windows, and a pass per target."""
    corpus = read_corpus(CorpusRef("python-docs", windows=windows), subject.tokenizer, subject.context)
    tokens = torch.from_numpy(corpus.tokens)

    _same_numbers(subject)
    times = in_turns(
        rounds,
        {
            "bare forward, last logits": lambda: bare(subject.model, tokens, True),
            "bare forward, all logits": lambda: bare(subject.model, tokens, False),
            "similarity": lambda: PROBE.run(subject, corpus, Plan(), NoParams()),
            "three passes": lambda: three_passes(subject.model, tokens),
        },
    )
    return [
        ratio(times, "similarity", "bare forward, all logits", most=1.2),  # the model as it is called
        ratio(times, "similarity", "bare forward, last logits"),  # stricter: the head's work left out, as the probe does
        ratio(times, "three passes", "bare forward, last logits"),
        ratio(times, "similarity", "three passes"),
    ]


def memory(rounds: int) -> list[Line]:
    """What the pass takes on top of the model, over few and over many windows, each in a fresh process."""
    peaks: dict[int, list[float]] = {2: [], 8: []}
    for _ in range(rounds):
        for windows, found in peaks.items():
            command = [sys.executable, "-m", "benchmarks.peak", str(windows)]
            found.append(float(subprocess.check_output(command, cwd=ROOT, text=True)) / 1e6)
    few, many = median(peaks[2]), median(peaks[8])
    note = f"{many:.0f} MB against {few:.0f} MB on top of the model"
    return [Line("similarity, peak memory of 8 windows ÷ 2 windows", many / few, most=1.1, note=note)]


def _same_numbers(subject: Subject) -> None:
    """A comparison is fair only if both compute the same thing."""
    corpus = read_corpus(CorpusRef("python-docs", windows=1), subject.tokenizer, subject.context)
    ours = PROBE.run(subject, corpus, Plan(), NoParams())
    theirs = three_passes(subject.model, torch.from_numpy(corpus.tokens))
    apart = max(np.abs(np.subtract(getattr(ours, target), found)).max() for target, found in theirs.items())
    if apart > 1e-5:
        raise RuntimeError(f"The probe and the three passes disagree by {apart:.1e}; one of them is wrong.")
