"""How many weights become zero, where, and by which method."""

from dataclasses import dataclass

from refusal import Refusal

METHODS = {"magnitude": "magnitude", "wanda": "Wanda", "sparsegpt": "SparseGPT"}
MODULES = {"all": "all", "attention": "attention", "mlp": "MLP"}


def share(total: int, ratio: float) -> int:
    """⌊total · ratio⌋, where 100 · 0.29 is 29 and not the 28 of binary fractions."""
    return int(total * ratio + 1e-6)


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
            raise Refusal(
                f"A share of {self.ratio:g} pruned weights is not valid. Write a number between 0 and 1, as in w:wanda@0.5."
            )
        if self.group and not (2 <= self.group <= 64 and abs(self.ratio * self.group - self.pruned) < 1e-9):
            raise Refusal(
                f"{self.ratio * self.group:g} of {self.group} weights cannot be pruned. Write N:M, as in w:wanda@2:4."
            )

    @property
    def pruned(self) -> int:
        """N of N:M, the weights that become zero in each group."""
        return round(self.ratio * self.group)

    def __str__(self) -> str:
        return f"w:{self.method}@{self.amount}" + (f"/{self.modules}" if self.modules != "all" else "")

    @property
    def sentence(self) -> str:
        """What is pruned, in words."""
        amount = f"{self.pruned} of every {self.group}" if self.group else f"{100 * self.ratio:.4g} % of the"
        which = {"all": "remaining weights", "attention": "weights of attention", "mlp": "weights of the MLPs"}[self.modules]
        return f"sets {amount} {which} to zero, chosen by {METHODS[self.method]}"

    @property
    def amount(self) -> str:
        """The share or N:M, as the text of a plan says it."""
        return f"{self.pruned}:{self.group}" if self.group else f"{self.ratio:g}"

    def zeros(self, rows: int, width: int) -> int:
        """How many weights of a matrix (rows, width) become zero: exactly so many, whatever they are."""
        if self.group:
            return rows * width // self.group * self.pruned
        if self.method == "wanda":  # row by row
            return rows * share(width, self.ratio)
        return share(rows * width, self.ratio)
