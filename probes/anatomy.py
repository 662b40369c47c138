"""What is told of a model without a text: its anatomy, and what a plan leaves of it. Pages ask these when a model is loaded."""

from dataclasses import replace
from typing import Any

from models.anatomy import Anatomy, anatomy
from models.subject import Subject
from plans.cost import Cost, cost
from plans.plan import Plan
from probes.base import NoParams, Probe
from refusal import Progress, silent


def _anatomy(subject: Subject, corpus: Any, plan: Plan, params: NoParams, progress: Progress = silent) -> Anatomy:
    return anatomy(subject)


def _cost(subject: Subject, corpus: Any, plan: Plan, params: NoParams, progress: Progress = silent) -> Cost:
    return cost(subject, plan, anatomy(subject))


ANATOMY = Probe("anatomy", "Model anatomy", 1, NoParams, Anatomy, _anatomy, takes_plan=False, takes_corpus=False)
COST = Probe("cost", "Plan cost", 1, NoParams, Cost, _cost, takes_plan=True, takes_corpus=False, applies_plan=False)


def counting(known: Anatomy) -> Probe:
    """`COST` of a model of which is known what it is made of, so that nothing has to run through it."""
    return replace(COST, run=lambda subject, corpus, plan, params, progress=silent: cost(subject, plan, known))
