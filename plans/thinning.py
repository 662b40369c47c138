"""What a plan can thin out inside layers: weights of linear maps, and the keys that attention looks at."""

import re
from dataclasses import dataclass

from refusal import Refusal

METHODS = {"magnitude": "magnitude", "wanda": "Wanda", "sparsegpt": "SparseGPT"}
MODULES = {"all": "all", "attention": "attention", "mlp": "MLP"}
_SPARSITY = re.compile(rf"w:({'|'.join(METHODS)})@([\d.]+|\d+:\d+)(?:/({'|'.join(MODULES)}))?")
_LOW_RANK = re.compile(r"k:([\d.]+)/([\d.]+)")


@dataclass(frozen=True)
class Sparsity:
    """Weights of linear maps that become zero.

    Attributes
    ----------
    method : str
        How they are chosen: ``magnitude``, ``wanda`` (arXiv 2306.11695) or ``sparsegpt`` (arXiv 2301.00774), which also
        changes the weights that stay.
    ratio : float
        Their share, above 0 and below 1.
    group : int
        0: no groups; M: the same number of them in each M consecutive inputs of a row, as 2 of 4.
    modules : str
        In which sublayers: ``all``, ``attention`` or ``mlp``.

    Raises
    ------
    Refusal
        A method, share, group or module that does not exist.
    """

    method: str
    ratio: float
    group: int = 0
    modules: str = "all"

    def __post_init__(self) -> None:
        for what, given, there in (("method", self.method, METHODS), ("part", self.modules, MODULES)):
            if given not in there:
                raise Refusal(f"There is no {what} '{given}' of pruning. Choose one of: {', '.join(there)}.")
        if not self.group:  # four decimals, so that the text gives the number back
            object.__setattr__(self, "ratio", round(self.ratio, 4))
        if not 0 < self.ratio < 1:
            raise Refusal(f"A share of {self.ratio:g} pruned weights is none. Write a number between 0 and 1, as w:wanda@0.5.")
        if self.group and not (2 <= self.group <= 64 and abs(self.ratio * self.group - self.pruned) < 1e-9):
            raise Refusal(f"{self.ratio * self.group:g} of {self.group} weights cannot be pruned. Write N:M, as w:wanda@2:4.")

    @property
    def pruned(self) -> int:
        """N of N:M, the weights that become zero in each group."""
        return round(self.ratio * self.group)

    def __str__(self) -> str:
        amount = f"{self.pruned}:{self.group}" if self.group else f"{self.ratio:g}"
        return f"w:{self.method}@{amount}" + (f"/{self.modules}" if self.modules != "all" else "")

    @property
    def sentence(self) -> str:
        """What is pruned, in words."""
        amount = f"{self.pruned} of every {self.group}" if self.group else f"{self.ratio:.4g} of the"
        where = {"all": "left", "attention": "of attention", "mlp": "of the MLPs"}[self.modules]
        return f"sets {amount} weights {where} to zero, chosen by {METHODS[self.method]}"


@dataclass(frozen=True)
class LowRank:
    """Attention to few keys, chosen in few of their dimensions (Loki, arXiv 2406.02542).

    Attributes
    ----------
    dims : float
        Share of the calibrated key dimensions that the scores for choosing are computed in; above 0, at most 1.
    top : float
        Share of the keys that are attended to; above 0, at most 1.

    Raises
    ------
    Refusal
        A share is outside this range.
    """

    dims: float
    top: float

    def __post_init__(self) -> None:
        for name in ("dims", "top"):
            share = round(getattr(self, name), 4)  # so that the text gives the number back
            object.__setattr__(self, name, share)
            if not 0 < share <= 1:
                raise Refusal(f"Attention to {share:g} of the keys or dimensions is not possible. Write shares above 0 and "
                              "up to 1, as k:0.25/0.5 for a quarter of the dimensions and half of the keys.")  # fmt: skip

    def __str__(self) -> str:
        return f"k:{self.dims:g}/{self.top:g}"

    @property
    def sentence(self) -> str:
        """What attention looks at, in words."""
        return f"attends to {self.top:.4g} of the keys, chosen in {self.dims:.4g} of their dimensions"


def thinning(item: str) -> Sparsity | LowRank | None:
    """What an item of a plan says on weights or keys; None where it is about something else, or has a typo."""
    if match := _SPARSITY.fullmatch(item):
        method, amount, modules = match.groups()
        if ":" not in amount:
            return Sparsity(method, _share(amount), modules=modules or "all")
        pruned, group = map(int, amount.split(":"))
        return Sparsity(method, pruned / max(group, 1), group, modules or "all")
    if match := _LOW_RANK.fullmatch(item):
        return LowRank(_share(match[1]), _share(match[2]))
    return None


def _share(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise Refusal(f"'{text}' is not a number. Write a share as 0.25.") from None
