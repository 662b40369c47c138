"""What a plan learns from a text before it can be applied: operation by operation, each on what those before it leave."""

from typing import Any

from torch import Tensor

from models.subject import Subject
from plans.cut import Calibrated, checked, cut
from plans.operation import Keep, Operation, Pieces
from plans.plan import EMPTY, Plan
from refusal import Progress, silent


def learn(
    subject: Subject,
    operation: Operation,
    before: Calibrated,
    tokens: Tensor,
    known: Pieces,
    keep: Keep,
    progress: Progress = silent,
) -> None:
    """Let one operation learn on the model as the operations before it leave it.

    Parameters
    ----------
    before : Calibrated
        The part of the plan that is applied first, with what it learned.
    tokens : int64 tensor of shape (windows, tokens)
    known : Pieces
        What was learned before an interruption; it is not learned again.
    keep : callable
        Is given each piece as soon as it is learned.
    """
    operation.basis().learn(cut(subject, before), tokens, known, keep, progress)


def calibrate(subject: Subject, plan: Plan, tokens: Tensor, progress: Progress = silent) -> Calibrated:
    """A plan with everything it learns from token ids of shape (windows, tokens), kept in memory."""
    checked(subject, plan)  # before an operation learns for minutes and a later one cannot be applied
    done = Calibrated(EMPTY)
    for operation in plan.operations:
        learned = dict(done.learned)
        if operation.basis() is not None:
            pieces: dict[str, dict[str, Any]] = {}
            learn(subject, operation, done, tokens, pieces, pieces.__setitem__, progress)
            learned[operation.name] = pieces
        done = Calibrated(done.plan.put(operation), learned)
    return done
