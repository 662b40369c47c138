"""What a number is, in a form that a page can show beside it."""

from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True)
class Entry:
    """One term.

    Attributes
    ----------
    term : str
        Its name.
    labels : tuple of str
        How numbers and columns of pages are labelled that show it, in lower case; ``*`` stands for any letters.
    what : str
        A sentence.
    formula : str
        How it is computed.
    good : str
        Which values are good, or how to read it.
    beware : str
        What it does not mean.
    source : str
        The paper that it is from; empty: it is counted, or common knowledge.
    """

    term: str
    labels: tuple[str, ...]
    what: str
    formula: str
    good: str
    beware: str
    source: str = ""

    @property
    def help(self) -> str:
        """All of it as Markdown."""
        source = f"\n\n*Source*: {self.source}" if self.source else ""
        return (
            f"{self.what}\n\n*Computed*: {self.formula}\n\n*How to read it*: {self.good}\n\n"
            f"*What it does not mean*: {self.beware}{source}"
        )

    @property
    def brief(self) -> str:
        """What it is and how it is computed, as one paragraph of Markdown."""
        return f"**{self.term}**: {self.what} *Computed*: {self.formula}."

    def explains(self, label: str) -> bool:
        """Whether a number with such a label is this."""
        return any(fnmatchcase(label.lower(), pattern) for pattern in self.labels)
