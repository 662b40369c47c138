"""A plan is a value: which attention sublayers, MLP sublayers and whole blocks are taken out.

Its text is canonical: ``a3,a7,m12,b20-23`` drops the attention of layers 3 and 7, the MLP of layer 12 and the blocks 20
to 23 (4 blocks, counted from 0). The same text is the URL, the cache key, the test id and the command-line argument.
"""

import re
from dataclasses import dataclass

from models import Refusal

_ITEM = re.compile(r"([amb])(\d+)(?:-(\d+))?")
_WORDS = {"a": "attention", "m": "mlp", "b": "blocks"}
_HIGHEST = 9999  # no transformer is deeper; keeps a typo like b0-999999999 from filling the memory


@dataclass(frozen=True)
class Plan:
    """What is taken out of a model, by layer index from 0.

    A block takes its attention and MLP with it, so these are not listed beside it: two plans that make the same model
    are equal and have one text.
    """

    attention: frozenset[int] = frozenset()
    mlp: frozenset[int] = frozenset()
    blocks: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        blocks = frozenset(self.blocks) | (frozenset(self.attention) & frozenset(self.mlp))
        object.__setattr__(self, "blocks", blocks)
        object.__setattr__(self, "attention", frozenset(self.attention) - blocks)
        object.__setattr__(self, "mlp", frozenset(self.mlp) - blocks)

    def __str__(self) -> str:
        return ",".join(item for letter, word in _WORDS.items() for item in _ranges(letter, getattr(self, word)))

    def __bool__(self) -> bool:
        return bool(self.attention or self.mlp or self.blocks)

    def __or__(self, other: "Plan") -> "Plan":
        return Plan(self.attention | other.attention, self.mlp | other.mlp, self.blocks | other.blocks)

    def __sub__(self, other: "Plan") -> "Plan":
        """What is still dropped when ``other`` is put back."""
        attention = self.dropped_attention - other.dropped_attention
        mlp = self.dropped_mlp - other.dropped_mlp
        return Plan(attention, mlp)

    @property
    def dropped_attention(self) -> frozenset[int]:
        """Layers without attention, alone or with their block."""
        return self.attention | self.blocks

    @property
    def dropped_mlp(self) -> frozenset[int]:
        """Layers without MLP, alone or with their block."""
        return self.mlp | self.blocks

    def checked(self, layers: int) -> "Plan":
        """The plan itself, if a model of so many layers can be cut so.

        Raises
        ------
        Refusal
            An index is beyond the last layer.
        """
        beyond = sorted(i for i in self.dropped_attention | self.dropped_mlp if i >= layers)
        if beyond:
            raise Refusal(f"The plan names layer {beyond[0]}, but this model has layers 0 to {layers - 1}.")
        return self

    def sentence(self, layers: int) -> str:
        """What the plan does, in words: ``removes the attention of layers 3 and 7 (2 layers)``."""
        if not self:
            return "removes nothing"
        if len(self.blocks) == layers:
            return "removes every block: what is left is the embedding, the final norm and the head"
        parts = [
            f"{noun} {_spoken(places)}"
            for noun, places in (
                ("the attention of", self.attention),
                ("the MLP of", self.mlp),
                ("", self.blocks),
            )
            if places
        ]
        return "removes " + "; ".join(part.strip() for part in parts)


def parse(text: str) -> Plan:
    """The plan a text names; an empty text is the empty plan.

    Raises
    ------
    Refusal
        An item is not of the form ``a3``, ``m12`` or ``b20-23``.
    """
    found: dict[str, set[int]] = {letter: set() for letter in _WORDS}
    for item in filter(None, re.split(r"[\s,;]+", text.strip().lower())):
        match = _ITEM.fullmatch(item)
        if not match:
            raise Refusal(
                f"'{item}' is not part of a plan. Write a3 for the attention of layer 3, m12 for the MLP of layer 12, "
                "b20-23 for the blocks 20 to 23, with commas between."
            )
        letter, first, last = match[1], int(match[2]), int(match[3] or match[2])
        if last < first:
            raise Refusal(f"'{item}' counts backwards; write {letter}{last}-{first}.")
        if last > _HIGHEST:
            raise Refusal(f"'{item}' names layer {last}; no model has so many layers.")
        found[letter].update(range(first, last + 1))
    return Plan(frozenset(found["a"]), frozenset(found["m"]), frozenset(found["b"]))


def _runs(places: frozenset[int]) -> list[tuple[int, int]]:
    """Ascending ``(first, last)`` of each unbroken run."""
    runs: list[tuple[int, int]] = []
    for place in sorted(places):
        if runs and runs[-1][1] == place - 1:
            runs[-1] = (runs[-1][0], place)
        else:
            runs.append((place, place))
    return runs


def _ranges(letter: str, places: frozenset[int]) -> list[str]:
    """Runs of three and more become a range only for blocks; sublayers stay single, as they are clicked."""
    if letter != "b":
        return [f"{letter}{place}" for place in sorted(places)]
    return [f"b{a}" if a == b else f"b{a}-{b}" for a, b in _runs(places)]


def _spoken(places: frozenset[int]) -> str:
    runs = [f"{a}" if a == b else f"{a}–{b}" for a, b in _runs(places)]
    count = len(places)
    return f"layer{'s' if count > 1 else ''} {', '.join(runs)}" + (f" ({count} layers)" if count > 1 else "")
