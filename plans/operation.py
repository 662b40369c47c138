"""What an operation is: one way to make a model smaller, as a value that is parsed, combined, learned and applied.

A new one is a file with a frozen dataclass of this shape and a row in `plans.registry.OPERATIONS`. Plan texts, the help of the
shell, the form of the drop lab, exports, charts and the contract test ask the registry, so nothing else has to know of it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

from torch import Tensor

from models.view import View
from refusal import Progress

# What was learned, by name of the piece (mostly a dense layer index as text): JSON values with numpy arrays. The mapping reads
# a piece when it is asked for, so that they never lie in memory all together.
Pieces = Mapping[str, dict[str, Any]]
Keep = Callable[[str, dict[str, Any]], None]


@dataclass(frozen=True)
class Shape:
    """What a plan can be checked against without the model.

    Attributes
    ----------
    layers : int
        Number of blocks.
    attention_stays : str
        Why another attention cannot be put in the place of the family's own; empty: it can.
    """

    layers: int
    attention_stays: str = ""


class Operation(Protocol):
    """A frozen dataclass; ``str(op)`` is its canonical text, ``bool(op)`` whether it changes anything at all."""

    name: ClassVar[str]  # of its row in OPERATIONS

    def __or__(self, other: Self) -> Self:
        """Both; where they exclude each other, the other one."""

    def __sub__(self, other: Self) -> Self | None:
        """What is left when ``other`` is put back; None: nothing."""

    def checked(self, shape: Shape) -> None:
        """Raise a Refusal if this model cannot be cut so."""

    def sentence(self, shape: Shape | None) -> str:
        """What it does, in words."""

    def basis(self) -> Self | None:
        """The operation on which learning depends; None: it learns nothing from a text."""

    def calibrates(self) -> bool:
        """Whether what it learns depends on the text, so that it matters which one and how long it is."""

    def learn(self, view: View, tokens: Tensor, known: Pieces, keep: Keep, progress: Progress) -> None:
        """Learn on a private view and hand each piece to ``keep`` as it is ready; those in ``known`` are not learned again."""

    def apply(self, view: View, learned: Pieces) -> View:
        """Cut a private view, whose tree may be changed; weights are replaced and never written to."""

    def touches(self, layer: int, part: str) -> bool:
        """Whether the ``attention`` or ``mlp`` of a dense layer is changed or taken out."""

    def reads(self) -> float:
        """Share of the cached keys and values that each attention left attends to."""

    def zeros(self, view: View) -> int:
        """How many parameters of a view become zero and stay where they are."""


@dataclass(frozen=True)
class Field:
    """One field of an operation's form in the drop lab.

    Attributes
    ----------
    name, label, help : str
    options : tuple of str
        The values offered.
    default : str
        Where the plan says nothing.
    labels : mapping
        How values are shown; others as they are.
    free : bool
        Other values may be typed in.
    width : int
        Pixels.
    """

    name: str
    label: str
    options: tuple[str, ...]
    default: str
    help: str
    labels: Mapping[str, str]
    free: bool = False
    width: int = 160


@dataclass(frozen=True)
class Kind:
    """The row of an operation in the registry.

    Attributes
    ----------
    name, title : str
        For the registry, and for people.
    examples : tuple of (str, str)
        Items of a plan and what they mean; help, placeholder and refusals say them.
    parse : callable
        The operation that an item names; None where it is about something else; a Refusal where it is about this one and wrong.
    joins : bool
        Several items of a plan add up; else two different ones are refused.
    fields : tuple of Field
        The form in the drop lab; the first field's first option means that the plan does not do this.
    written : callable
        The item of a plan that the values of the fields make.
    read : callable
        The values of the fields that an operation stands for.
    """

    name: str
    title: str
    examples: tuple[tuple[str, str], ...]
    parse: Callable[[str], Operation | None]
    joins: bool = False
    fields: tuple[Field, ...] = ()
    written: Callable[[Mapping[str, str]], str] | None = None
    read: Callable[[Any], dict[str, str]] | None = None
