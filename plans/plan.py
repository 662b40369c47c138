"""A plan is a value: a sequence of operations, one of each kind at most, in the order of the registry.

Its text is canonical: ``a3,a7,m12,b20-23`` drops the attention of layers 3 and 7, the MLP of layer 12 and the blocks 20 to 23
(4 blocks, counted from 0); ``w:wanda@0.5`` sets half of the weights that are left to zero; ``k:0.25/0.5`` lets attention choose
half of the keys by a quarter of their dimensions. The same text is the URL, the cache key, the test id and the argument of the
shell.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, reduce
from itertools import groupby
from operator import or_
from typing import TypeVar

from plans.operation import Operation, Shape
from plans.registry import OPERATIONS
from refusal import Refusal

Op = TypeVar("Op", bound=Operation)
_LONGEST, _LONGEST_ITEM = 20_000, 100  # characters


@dataclass(frozen=True)
class Plan:
    """Operations in the order of the registry; those that change nothing are left out, those of one kind are joined."""

    operations: tuple[Operation, ...] = ()

    def __post_init__(self) -> None:
        order = list(OPERATIONS)
        ordered = sorted(self.operations, key=lambda op: order.index(op.name))
        joined = (reduce(or_, same) for _, same in groupby(ordered, key=lambda op: op.name))
        object.__setattr__(self, "operations", tuple(op for op in joined if op))

    def __str__(self) -> str:
        return ",".join(map(str, self.operations))

    def __bool__(self) -> bool:
        return bool(self.operations)

    def __or__(self, other: "Plan") -> "Plan":
        """Both; of two operations that exclude each other, the other plan's."""
        return Plan(self.operations + other.operations)

    def __sub__(self, other: "Plan") -> "Plan":
        """What is still done when ``other`` is put back."""
        theirs = {op.name: op for op in other.operations}
        left = (op - theirs[op.name] if op.name in theirs else op for op in self.operations)
        return Plan(tuple(op for op in left if op is not None))

    def of(self, kind: type[Op]) -> Op | None:
        """The plan's operation of a class."""
        return next((op for op in self.operations if isinstance(op, kind)), None)

    def without(self, name: str) -> "Plan":
        """The plan without its operation of a kind."""
        return Plan(tuple(op for op in self.operations if op.name != name))

    def put(self, operation: Operation) -> "Plan":
        """The plan with this operation in the place of its own of the same kind."""
        return Plan((*self.without(operation.name).operations, operation))

    def before(self, operation: Operation) -> "Plan":
        """The part of the plan that is applied before an operation of it: what it learns depends on that."""
        return Plan(self.operations[: self.operations.index(operation)])

    @property
    def learning(self) -> tuple[Operation, ...]:
        """The operations that must look at a text before they can be applied."""
        return tuple(op for op in self.operations if op.basis() is not None)

    @property
    def calibrates(self) -> bool:
        """Whether it matters from which text it learns; pruning by magnitude only waits for one."""
        return any(op.calibrates() for op in self.operations)

    @property
    def at_once(self) -> "Plan":
        """The part of the plan that needs no text."""
        return Plan(tuple(op for op in self.operations if op.basis() is None))

    def touches(self, layer: int, part: str) -> bool:
        """Whether the ``attention`` or ``mlp`` of a dense layer is changed or taken out."""
        return any(op.touches(layer, part) for op in self.operations)

    def checked(self, shape: Shape) -> "Plan":
        """The plan itself, if a model of this shape can be cut so.

        Raises
        ------
        Refusal
            It cannot: an index is beyond the last layer, an attention cannot be replaced, …
        """
        for op in self.operations:
            op.checked(shape)
        return self

    def sentence(self, shape: Shape | None = None) -> str:
        """What the plan does, in words: ``removes the attention of layers 3 and 7 (2 layers)``."""
        return "; ".join(op.sentence(shape) for op in self.operations) or "Plan is empty (dense model)"


EMPTY = Plan()


@lru_cache(maxsize=1024)  # a page asks several times per redraw
def parse(text: str) -> Plan:
    """The plan a text names; an empty text is the empty plan.

    Raises
    ------
    Refusal
        An item is no part of a plan, two items exclude each other, or the text is too long.
    """
    if len(text) > _LONGEST:
        raise Refusal(f"The plan has {len(text):,} characters; at most {_LONGEST:,} are read.")
    found: dict[str, Operation] = {}
    for item in filter(None, re.split(r"[\s,;]+", text.strip().lower())):
        op = _parsed(item)
        there = found.get(op.name)
        if there is not None and there != op and not OPERATIONS[op.name].joins:
            raise Refusal(f"A plan has at most one item '{item[:2]}': '{there}' or '{op}'?")
        found[op.name] = op if there is None else there | op
    return Plan(tuple(found.values()))


def _parsed(item: str) -> Operation:
    if len(item) > _LONGEST_ITEM:  # no parser has to read a number of a thousand digits
        raise Refusal(
            f"'{item[:20]}…' is not part of a plan: it has {len(item):,} characters. Write items such as a25, m3 or b20-23."
        )
    parsers: list[Callable[[str], Operation | None]] = [kind.parse for kind in OPERATIONS.values()]
    for parser in parsers:
        op = parser(item)
        if op is not None:
            return op
    known = ", ".join(f"{each} for {meaning}" for kind in OPERATIONS.values() for each, meaning in kind.examples)
    raise Refusal(f"'{item}' is not part of a plan. Write {known}; separate several with commas.")
