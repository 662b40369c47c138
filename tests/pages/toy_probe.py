"""A probe in one file, of which nothing else in the house knows: parameters, result, what is computed, and its row."""

from dataclasses import dataclass

import numpy as np

from probes.base import Probe
from refusal import silent


@dataclass(frozen=True)
class ToyParams:
    factor: int = 1


@dataclass(frozen=True)
class ToyResult:
    count: int
    heaviest: str
    norms: np.ndarray


RUNS = []  # the factor of each run


def _run(subject, corpus, plan, params, progress=silent):
    progress(0, 1, "counting")
    RUNS.append(params.factor)
    norms = np.array([float(weight.norm()) for weight in subject.model.parameters()])
    heaviest = [name for name, _ in subject.model.named_parameters()][int(norms.argmax())]
    return ToyResult(corpus.tokens.size * params.factor, heaviest, norms)


PROBE = Probe("toy", "Counted tokens", 1, ToyParams, ToyResult, _run, takes_plan=False)
