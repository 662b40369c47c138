"""Texts that are common in papers, from the hub by the optional library ``datasets``; kept once they were fetched."""

from dataclasses import dataclass
from itertools import islice

from refusal import Refusal
from settings import subfolder, write_atomically


@dataclass(frozen=True)
class HubText:
    """A part of a hub data set: the first ``rows`` rows of its validation split, joined by ``joint``."""

    path: str
    config: str
    rows: int
    joint: str


# WikiText's rows are lines with their line ends; C4's are documents, of which 2,000 hold about a million tokens.
HUB_TEXTS = {
    "wikitext-2-raw": HubText("Salesforce/wikitext", "wikitext-2-raw-v1", 1_000_000, ""),
    "c4-validation": HubText("allenai/c4", "en", 2_000, "\n\n"),
}


def hub_text(name: str) -> str:
    """The text, fetched the first time and kept in the data directory.

    Raises
    ------
    Refusal
        It is not kept yet, and ``datasets`` is not installed or the hub cannot be reached.
    """
    kept = subfolder("texts") / f"{name}.txt"
    if not kept.is_file():
        write_atomically(kept, _fetched(name, HUB_TEXTS[name]))
    return kept.read_text(encoding="utf-8")


def _fetched(name: str, part: HubText) -> str:
    try:
        import datasets
    except ImportError as error:
        raise Refusal(
            f"The text '{name}' needs the library `datasets`: install it with `pip install datasets`, or choose "
            "prose, which needs nothing."
        ) from error
    try:
        rows = datasets.load_dataset(part.path, part.config, split="validation", streaming=True)
        return part.joint.join(row["text"] for row in islice(rows, part.rows))
    except (OSError, ValueError, RuntimeError) as error:
        raise Refusal(
            f"The text '{name}' is not on this machine, and the hub cannot be reached ({type(error).__name__}). Choose "
            "prose, which needs no network, or name a .txt file."
        ) from error
