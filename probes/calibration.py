"""What a plan with pruned weights or low-rank attention learns from a text; other probes find it here.

It has no page: whoever asks about such a plan gets it calibrated on the way, and this answer is kept for the next question.
"""

import torch

from models.subject import Subject
from plans.calibration import Calibration, calibrate
from plans.plan import Plan
from probes.base import NoParams, Probe
from refusal import Progress, silent
from texts.corpus import Corpus


def _run(subject: Subject, corpus: Corpus, plan: Plan, params: NoParams, progress: Progress = silent) -> Calibration:
    return calibrate(subject, plan, torch.from_numpy(corpus.tokens).to(subject.device), progress)


PROBE = Probe("calibration", "What a plan learns from the text", 1, NoParams, Calibration, _run, takes_plan=True)
