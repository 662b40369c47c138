"""What a search is asked for."""

from dataclasses import dataclass

from plans.drops import LETTERS
from probes.search.budget import UNITS
from refusal import Refusal

STRATEGIES = (
    "similarity", "length", "gradient", "gradient_size", "kl", "span", "balanced", "knapsack", "greedy", "swaps", "random"
)  # fmt: skip


@dataclass(frozen=True)
class SearchParams:
    """What is searched.

    Attributes
    ----------
    unit : str
        What the budget counts, one of `UNITS`.
    share : float
        How much of the dense model is to be saved at most, between 0 and 1.
    points : int
        How many budgets up to that share.
    parts : str
        What may be dropped, with commas between: ``attention``, ``mlp``, ``block``.
    strategies : str
        Which of `STRATEGIES`, with commas between.
    again : int
        How many drops greedy measures again in each round; 0: all that are left.
    generations, offspring : int
        Of swaps, for each budget.
    draws : int
        Of random plans, for each budget.
    continuation : int
        New tokens that the dense model writes after each judging window, on which plans are judged too; 0: none.
    seed : int
        Of random plans and swaps.
    """

    unit: str = "sublayers"
    share: float = 0.25
    points: int = 4
    parts: str = "attention,mlp"
    strategies: str = ",".join(STRATEGIES)
    again: int = 16
    generations: int = 10
    offspring: int = 16
    draws: int = 8
    continuation: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise Refusal(f"There is no budget unit '{self.unit}'. Choose one of: {', '.join(UNITS)}.")
        if not 0 < self.share < 1:
            raise Refusal(f"A share of {self.share} cannot be saved. Write a number between 0 and 1, such as 0.25.")
        _refuse_unknown("part", self.kinds, tuple(LETTERS))
        _refuse_unknown("strategy", self.names, STRATEGIES)
        for name, least in (
            ("points", 1),
            ("offspring", 1),
            ("draws", 1),
            ("again", 0),
            ("generations", 0),
            ("continuation", 0),
        ):
            if getattr(self, name) < least:
                raise Refusal(f"'{name}' is {getattr(self, name)}. It is {least} or more.")

    @property
    def kinds(self) -> tuple[str, ...]:
        """`parts`, in the order of `LETTERS`."""
        given = _listed(self.parts)
        return tuple(sorted(given, key=lambda part: (*LETTERS, part).index(part)))

    @property
    def names(self) -> tuple[str, ...]:
        """`strategies`, in their order."""
        given = _listed(self.strategies)
        return tuple(sorted(given, key=lambda name: (*STRATEGIES, name).index(name)))

    @property
    def shares(self) -> tuple[float, ...]:
        """The budgets, rising."""
        return tuple(self.share * (i + 1) / self.points for i in range(self.points))


def _listed(text: str) -> set[str]:
    return {each.strip() for each in text.split(",")} - {""}


def _refuse_unknown(what: str, given: tuple[str, ...], known: tuple[str, ...]) -> None:
    unknown = [each for each in given if each not in known]
    if unknown or not given:
        raise Refusal(f"There is no {what} '{', '.join(unknown)}'. Choose from: {', '.join(known)}.")
