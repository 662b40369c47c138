"""What a drop saves, in the unit of a budget, and which drops may be chosen."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from models.anatomy import Anatomy
from plans.drops import LETTERS, Drops, dropped
from plans.plan import EMPTY, Plan, parse
from refusal import Refusal

# Unit → what it counts, in words.
UNITS = {
    "sublayers": "attention and MLP sublayers",
    "blocks": "whole blocks",
    "parameters": "parameters",
    "bytes": "bytes of weights",
    "cache": "bytes of key-value cache per token",
    "work": "multiply-adds per token",
    "milliseconds": "milliseconds of a forward pass, measured",
}
_FIELDS = {"parameters": "parameters", "bytes": "bytes", "cache": "cache_bytes", "work": "multiply_adds"}
_SLACK = 1e-9  # of the whole: a sum of floats may fall short of a share by rounding


@dataclass(frozen=True, eq=False)
class Budget:
    """Savings by layer, in one unit.

    Attributes
    ----------
    unit : str
        One of `UNITS`.
    attention, mlp, rest : float64 arrays of shape (layers,)
        What each attention and MLP saves, and what goes only with the whole block.
    total : float
        Of the dense model.
    base : Plan
        What every plan begins with; only drops.
    parts : tuple of str
        Which kinds may be dropped on top: ``attention``, ``mlp``, ``block``.
    """

    unit: str
    attention: np.ndarray
    mlp: np.ndarray
    rest: np.ndarray
    total: float
    base: Plan = EMPTY
    parts: tuple[str, ...] = ("attention", "mlp")

    def saved(self, plan: Plan) -> float:
        """What a plan saves of the dense model, in the unit."""
        drops = dropped(plan)
        pairs = ((self.attention, drops.no_attention), (self.mlp, drops.no_mlp), (self.rest, drops.blocks))
        return float(sum(values[sorted(layers)].sum() for values, layers in pairs))

    def needed(self, share: float) -> float:
        """What a share of the dense model is in the unit."""
        return share * self.total - _SLACK * self.total

    def met(self, plan: Plan, share: float) -> bool:
        """Whether a plan saves so large a share."""
        return self.saved(plan) >= self.needed(share)

    @cached_property
    def items(self) -> tuple[str, ...]:
        """What may be dropped and saves something, in the order of depth: ``a0, m0, b0, a1, …``."""
        found = []
        for layer in range(len(self.attention)):
            for letter in (LETTERS[part] for part in LETTERS if part in self.parts):
                plan = self.base | parse(f"{letter}{layer}")
                if plan != self.base and self.saved(plan) > self.saved(self.base):
                    found.append(f"{letter}{layer}")
        return tuple(found)

    def left(self, plan: Plan) -> list[str]:
        """Items that a plan has not dropped yet; a block is none where one of its sublayers is gone already."""
        drops = dropped(plan)
        gone = {"a": drops.no_attention, "m": drops.no_mlp, "b": drops.no_attention | drops.no_mlp}
        return [item for item in self.items if int(item[1:]) not in gone[item[0]]]

    def gain(self, plan: Plan, item: str) -> float:
        """What an item saves on top of a plan."""
        return self.saved(plan | parse(item)) - self.saved(plan)

    def taken(self, order: Iterable[str], share: float, start: Plan | None = None) -> Plan:
        """Items in an order, until a share is saved; those that the plan holds already are passed over.

        Raises
        ------
        Refusal
            All of them together save less.
        """
        plan = self.base if start is None else start
        for item in order:
            if self.met(plan, share):
                break
            if item in self.left(plan):
                plan = plan | parse(item)
        if not self.met(plan, share):
            raise Refusal(self.too_much(share))
        return plan

    def too_much(self, share: float) -> str:
        """Why a share cannot be saved."""
        most = self.saved(Plan((Drops(*(frozenset(range(len(self.attention))) if part in self.parts else frozenset()
                                        for part in ("attention", "mlp", "block"))),)) | self.base)  # fmt: skip
        return (
            f"The budget cannot be met: dropping every {' and '.join(self.parts)} saves {most / self.total:.1%} of the "
            f"{UNITS[self.unit]}, less than {share:.1%}. Ask for less, or allow more kinds of parts to be dropped."
        )


def budget(
    unit: str, anatomy: Anatomy, base: Plan, parts: Sequence[str], times: tuple[np.ndarray, np.ndarray, float] | None = None
) -> Budget:
    """The budget of a model.

    Parameters
    ----------
    times : pair of float64 arrays of shape (layers,) and float, optional
        Milliseconds of each attention, of each MLP and of a whole pass; for the unit ``milliseconds``.
    """
    layers = anatomy.layers
    ones, none = np.ones(layers), np.zeros(layers)
    if unit == "sublayers":
        values = ones, ones, none, 2.0 * layers
    elif unit == "blocks":
        values = none, none, ones, float(layers)
    elif unit == "milliseconds":
        attention, mlp, total = times
        values = attention, mlp, none, total
    else:
        name = _FIELDS[unit]
        of_kind = [_by_layer(anatomy, kind, name) for kind in ("attention", "mlp", "shared")]
        values = *of_kind, float(getattr(anatomy, name))
    return Budget(unit, *values, base=base, parts=("block",) if unit == "blocks" else tuple(parts))


def _by_layer(anatomy: Anatomy, kind: str, name: str) -> np.ndarray:
    found = np.zeros(anatomy.layers)
    for part in anatomy.parts:
        if part.kind == kind:
            found[part.layer] += getattr(part, name)
    return found
