"""Dropping attention sublayers, MLP sublayers and whole blocks (arXiv 2406.15786, 2403.17887): ``a3``, ``m12``, ``b20-23``."""

import re
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from models.removal import removed
from models.view import View
from plans.operation import Keep, Kind, Pieces, Shape
from refusal import Progress, Refusal

_ITEM = re.compile(r"([amb])(\d+)(?:-(\d+))?")
LETTERS = {"attention": "a", "mlp": "m", "block": "b"}  # the parts of a layer that an item of a plan can drop
BY_LETTER = {letter: part for part, letter in LETTERS.items()}
_WORDS = {"a": "attention", "m": "mlp", "b": "blocks"}
_HIGHEST = 9999  # no transformer is deeper; keeps a typo like b0-999999999 from filling the memory


@dataclass(frozen=True)
class Drops:
    """What is taken out, by layer index from 0.

    A block takes its attention and MLP with it, so these are not listed beside it: two plans that make the same model are equal
    and have one text.
    """

    attention: frozenset[int] = frozenset()
    mlp: frozenset[int] = frozenset()
    blocks: frozenset[int] = frozenset()
    name: ClassVar[str] = "drops"

    def __post_init__(self) -> None:
        blocks = frozenset(self.blocks) | (frozenset(self.attention) & frozenset(self.mlp))
        object.__setattr__(self, "blocks", blocks)
        object.__setattr__(self, "attention", frozenset(self.attention) - blocks)
        object.__setattr__(self, "mlp", frozenset(self.mlp) - blocks)

    def __str__(self) -> str:
        return ",".join(item for letter, word in _WORDS.items() for item in _items(letter, getattr(self, word)))

    def __bool__(self) -> bool:
        return bool(self.attention or self.mlp or self.blocks)

    def __or__(self, other: "Drops") -> "Drops":
        return Drops(self.attention | other.attention, self.mlp | other.mlp, self.blocks | other.blocks)

    def __sub__(self, other: "Drops") -> "Drops | None":
        return Drops(self.no_attention - other.no_attention, self.no_mlp - other.no_mlp) or None

    @property
    def no_attention(self) -> frozenset[int]:
        """Layers without attention, alone or with their block."""
        return self.attention | self.blocks

    @property
    def no_mlp(self) -> frozenset[int]:
        """Layers without MLP, alone or with their block."""
        return self.mlp | self.blocks

    def checked(self, shape: Shape) -> None:
        """Refuse an index beyond the last layer."""
        beyond = sorted(i for i in self.no_attention | self.no_mlp if i >= shape.layers)
        if beyond:
            raise Refusal(f"The plan names layer {beyond[0]}, but this model has layers 0 to {shape.layers - 1}.")

    def sentence(self, shape: Shape | None) -> str:
        """What is removed, in words."""
        if shape is not None and len(self.blocks) == shape.layers:
            return "removes every block; only the embedding, the final norm and the head are left"
        nouns = (("the attention of ", self.attention), ("the MLP of ", self.mlp), ("", self.blocks))
        return f"removes {'; '.join(noun + _layers(places) for noun, places in nouns if places)}"

    def basis(self) -> None:
        """Nothing is learned."""

    def calibrates(self) -> bool:
        """Nothing is learned."""
        return False

    def learn(self, view: View, tokens: Tensor, known: Pieces, keep: Keep, progress: Progress) -> None:
        """Nothing is learned."""

    def apply(self, view: View, learned: Pieces) -> View:
        """The view without what is dropped."""
        return removed(view, self.attention, self.mlp, self.blocks)

    def touches(self, layer: int, part: str) -> bool:
        """Whether that sublayer is dropped."""
        return layer in (self.no_attention if part == "attention" else self.no_mlp)

    def reads(self) -> float:
        """All: an attention that is left reads what it read."""
        return 1.0

    def zeros(self, view: View) -> int:
        """None: what is dropped is gone."""
        return 0


def dropped(plan: Any) -> Drops:
    """What a plan drops; empty where it drops nothing."""
    return plan.of(Drops) or Drops()


def _parse(item: str) -> Drops | None:
    match = _ITEM.fullmatch(item)
    if not match:
        return None
    letter, first, last = match[1], int(match[2]), int(match[3] or match[2])
    if last < first:
        raise Refusal(f"'{item}' counts backwards; write {letter}{last}-{first}.")
    if last > _HIGHEST:
        raise Refusal(f"'{item}' names layer {last}; no model has so many layers.")
    return Drops(**{_WORDS[letter]: frozenset(range(first, last + 1))})


def _runs(places: frozenset[int]) -> list[tuple[int, int]]:
    """Ascending ``(first, last)`` of each unbroken run."""
    runs: list[tuple[int, int]] = []
    for place in sorted(places):
        if runs and runs[-1][1] == place - 1:
            runs[-1] = (runs[-1][0], place)
        else:
            runs.append((place, place))
    return runs


def _items(letter: str, places: frozenset[int]) -> list[str]:
    """Runs become a range only for blocks; sublayers stay single, as they are clicked."""
    if letter != "b":
        return [f"{letter}{place}" for place in sorted(places)]
    return [f"b{a}" if a == b else f"b{a}-{b}" for a, b in _runs(places)]


def _layers(places: frozenset[int]) -> str:
    runs = [f"{a}" if a == b else f"{a}–{b}" for a, b in _runs(places)]
    if len(places) == 1:
        return f"layer {runs[0]}"
    return f"layers {', '.join(runs)} ({len(places)} layers)"


KIND = Kind(
    "drops",
    "Drop sublayers and blocks",
    (
        ("a25", "the attention of layer 25"),
        ("m3", "the MLP of layer 3"),
        ("b20-23", "the blocks 20 to 23"),
    ),
    _parse,
    joins=True,
)
