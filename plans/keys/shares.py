"""How many dimensions keys are compared in, and how many of them are attended to."""

from dataclasses import dataclass

from refusal import Refusal

WHOLE = "loki"  # at the end of a plan's item: keys are counted as in the paper's code
_MOST = 8  # shares per axis: every place of the grid is a pass over the text


@dataclass(frozen=True)
class LowRank:
    """Attention to few keys, chosen in few of their dimensions (Loki, arXiv 2406.02542).

    Attributes
    ----------
    dims : float
        Share of the calibrated key dimensions that the scores for choosing are computed in; above 0, at most 1.
    top : float
        Share of the keys that are attended to; above 0, at most 1.
    whole : bool
        How keys are counted: for each row of the keys that it sees, or as Loki's own code does, of all keys for every row.

    Raises
    ------
    Refusal
        A share is outside this range.
    """

    dims: float
    top: float
    whole: bool = False

    def __post_init__(self) -> None:
        for name in ("dims", "top"):
            share = round(getattr(self, name), 4)  # so that the text gives the number back
            object.__setattr__(self, name, share)
            if not 0 < share <= 1:
                raise Refusal(f"Attention to {share:g} of the keys or dimensions is not valid. Write shares above 0 and "
                              "up to 1, as in k:0.25/0.5 for a quarter of the dimensions and half of the keys.")  # fmt: skip

    def __str__(self) -> str:
        return f"k:{self.dims:g}/{self.top:g}{f'/{WHOLE}' if self.whole else ''}"

    @property
    def sentence(self) -> str:
        """What attention looks at, in words."""
        keys = "of the whole text's keys, as Loki's code counts them" if self.whole else "of the keys"
        return f"attends to {100 * self.top:.4g} % {keys}, chosen in {100 * self.dims:.4g} % of their dimensions"


def shares(text: str, noun: str) -> list[float]:
    """The numbers of a text with commas between, each once, in their order.

    Raises
    ------
    Refusal
        There is none, there are too many, or one is not a number above 0 and at most 1.
    """
    found: dict[float, None] = {}
    for item in filter(None, (each.strip() for each in text.split(","))):
        try:
            share = round(float(item), 4)  # as exact as a plan's text
        except ValueError:
            raise Refusal(f"'{item}' is not a number. Write comma-separated shares of the {noun}, such as 0.5,0.25.") from None
        if not 0 < share <= 1:
            raise Refusal(
                f"A share of {item} of the {noun} is not valid. Write numbers above 0 and at most 1, such as 0.5,0.25."
            )
        found[share] = None
    if not 0 < len(found) <= _MOST:
        raise Refusal(f"{len(found)} shares of the {noun} were asked for. Write 1 to {_MOST}, such as 0.5,0.25.")
    return list(found)
