"""From a plan to a view: a shared tree, on which each operation cuts in turn."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from transformers import PreTrainedModel

from models.attention import why_it_stays
from models.families import Family
from models.view import View, shared
from plans.operation import Operation, Pieces, Shape
from plans.plan import EMPTY, Plan
from refusal import Refusal


@dataclass(frozen=True, eq=False)
class Calibrated:
    """A plan with what its operations learned from a text.

    Attributes
    ----------
    learned : mapping of str to pieces
        By name of the operation.
    """

    plan: Plan
    learned: Mapping[str, Pieces] = field(default_factory=dict)

    def alone(self, name: str) -> "Calibrated":
        """One operation of the plan, with what it learned."""
        return Calibrated(Plan(tuple(op for op in self.plan.operations if op.name == name)), self.learned)


class Dense(Protocol):
    """What can be cut: a Subject."""

    model: PreTrainedModel
    family: Family


def plan_of(plan: Plan | Calibrated) -> Plan:
    """The plan, calibrated or not."""
    return plan.plan if isinstance(plan, Calibrated) else plan


def checked(subject: Dense, plan: Plan) -> View:
    """A private copy of the tree of a model, if it can be cut so.

    Raises
    ------
    Refusal
        The plan names a layer the model does not have, another attention cannot be put in the place of its own, …
    """
    view = shared(subject.model, subject.family)
    plan.checked(Shape(len(view.blocks), why_it_stays(view)))
    return view


def cut(subject: Dense, plan: Plan | Calibrated = EMPTY) -> View:
    """A view of a model as a plan makes it; with the empty plan a private copy of the tree.

    Raises
    ------
    Refusal
        The model cannot be cut so, or the plan has to learn from a text and did not.
    """
    learned = plan.learned if isinstance(plan, Calibrated) else {}
    plan = plan_of(plan)
    view = checked(subject, plan)
    for operation in plan.operations:
        view = operation.apply(view, _pieces(operation, learned, plan))
    return view


def _pieces(operation: Operation, learned: Mapping[str, Pieces], plan: Plan) -> Pieces:
    if operation.basis() is None:
        return {}
    if operation.name not in learned:
        raise Refusal(f"The plan {plan} learns from a text before it can be applied: calibrate it first.")
    return learned[operation.name]
