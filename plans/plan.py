"""A plan is a value: which attention sublayers, MLP sublayers and whole blocks are taken out, and what is thinned out.

Its text is canonical: ``a3,a7,m12,b20-23`` drops the attention of layers 3 and 7, the MLP of layer 12 and the blocks 20
to 23 (4 blocks, counted from 0); ``w:wanda@0.5`` sets half of the weights that are left to zero, ``w:sparsegpt@2:4/mlp`` two
of every four in the MLPs; ``k:0.25/0.5`` lets attention choose half of the keys by a quarter of their dimensions. The same
text is the URL, the cache key, the test id and the command-line argument.
"""

import re
from dataclasses import dataclass, replace

from plans.thinning import LowRank, Sparsity, thinning
from refusal import Refusal

_ITEM = re.compile(r"([amb])(\d+)(?:-(\d+))?")
_WORDS = {"a": "attention", "m": "mlp", "b": "blocks"}
_HIGHEST = 9999  # no transformer is deeper; keeps a typo like b0-999999999 from filling the memory


@dataclass(frozen=True)
class Plan:
    """What is taken out of a model, by layer index from 0.

    A block takes its attention and MLP with it, so these are not listed beside it: two plans that make the same model
    are equal and have one text. ``sparsity`` and ``keys`` apply to what the drops leave, and need calibration.
    """

    attention: frozenset[int] = frozenset()
    mlp: frozenset[int] = frozenset()
    blocks: frozenset[int] = frozenset()
    sparsity: Sparsity | None = None
    keys: LowRank | None = None

    def __post_init__(self) -> None:
        blocks = frozenset(self.blocks) | (frozenset(self.attention) & frozenset(self.mlp))
        object.__setattr__(self, "blocks", blocks)
        object.__setattr__(self, "attention", frozenset(self.attention) - blocks)
        object.__setattr__(self, "mlp", frozenset(self.mlp) - blocks)
        if self.keys and self.keys.top == 1:  # all keys are attended to, however they were chosen
            object.__setattr__(self, "keys", None)

    def __str__(self) -> str:
        drops = [item for letter, word in _WORDS.items() for item in _ranges(letter, getattr(self, word))]
        return ",".join([*drops, *(str(part) for part in (self.sparsity, self.keys) if part)])

    def __bool__(self) -> bool:
        return bool(self.attention or self.mlp or self.blocks or self.calibrates)

    def __or__(self, other: "Plan") -> "Plan":
        """Both; of two ways to prune weights, or to choose keys, the other's."""
        drops = (self.attention | other.attention, self.mlp | other.mlp, self.blocks | other.blocks)
        return Plan(*drops, other.sparsity or self.sparsity, other.keys or self.keys)

    def __sub__(self, other: "Plan") -> "Plan":
        """What is still done when ``other`` is put back."""
        attention = self.dropped_attention - other.dropped_attention
        mlp = self.dropped_mlp - other.dropped_mlp
        sparsity = self.sparsity if self.sparsity != other.sparsity else None
        return Plan(attention, mlp, sparsity=sparsity, keys=self.keys if self.keys != other.keys else None)

    @property
    def drops(self) -> "Plan":
        """The plan without what needs calibration."""
        return replace(self, sparsity=None, keys=None)

    @property
    def calibrates(self) -> bool:
        """Whether the plan must look at a text before it can be applied."""
        return self.sparsity is not None or self.keys is not None

    @property
    def calibration(self) -> "Plan":
        """The plan that is calibrated in the same way: the basis of the keys does not depend on how much of it is used."""
        return replace(self, keys=LowRank(1, 0.5) if self.keys else None)

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
        removed = self._removed()
        done = [f"removes {removed}"] if removed else []
        return "; ".join([*done, *(part.sentence for part in (self.sparsity, self.keys) if part)])

    def _removed(self) -> str:
        parts = [
            f"{noun} {_spoken(places)}"
            for noun, places in (
                ("the attention of", self.attention),
                ("the MLP of", self.mlp),
                ("", self.blocks),
            )
            if places
        ]
        return "; ".join(part.strip() for part in parts)


def parse(text: str) -> Plan:
    """The plan a text names; an empty text is the empty plan.

    Raises
    ------
    Refusal
        An item is not of the form ``a3``, ``m12``, ``b20-23``, ``w:wanda@0.5`` or ``k:0.25/0.5``, or there are two of
        the last kinds.
    """
    found: dict[str, set[int]] = {letter: set() for letter in _WORDS}
    thinned: dict[str, Sparsity | LowRank] = {}
    for item in filter(None, re.split(r"[\s,;]+", text.strip().lower())):
        if thin := thinning(item):
            if thinned.setdefault(item[0], thin) != thin:
                raise Refusal(f"A plan has one item '{item[0]}:' at most: '{thinned[item[0]]}' or '{thin}'?")
            continue
        match = _ITEM.fullmatch(item)
        if not match:
            raise Refusal(
                f"'{item}' is not part of a plan. Write a3 for the attention of layer 3, m12 for the MLP of layer 12, "
                "b20-23 for the blocks 20 to 23, w:wanda@0.5 for half of the weights, k:0.25/0.5 for attention to half of "
                "the keys chosen in a quarter of their dimensions, with commas between."
            )
        letter, first, last = match[1], int(match[2]), int(match[3] or match[2])
        if last < first:
            raise Refusal(f"'{item}' counts backwards; write {letter}{last}-{first}.")
        if last > _HIGHEST:
            raise Refusal(f"'{item}' names layer {last}; no model has so many layers.")
        found[letter].update(range(first, last + 1))
    return Plan(*(frozenset(found[letter]) for letter in _WORDS), thinned.get("w"), thinned.get("k"))  # type: ignore[arg-type]


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
