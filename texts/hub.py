"""Texts that are common in papers, from the hub by the optional library ``datasets``; kept once they were fetched."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

from refusal import Progress, Refusal, plural, silent
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


class NotFetched(Refusal):
    """A text of the hub that is not on this machine yet."""

    def __init__(self, name: str) -> None:
        super().__init__(f"The text '{name}' is not on this machine yet. Choose it in the sidebar, and fetch it there.")
        self.name = name


def hub_text(name: str) -> str:
    """The text, as it is kept in the data directory. Fetching takes a while, so it is asked for by itself.

    Raises
    ------
    NotFetched
        It is not kept.
    """
    kept = subfolder("texts") / f"{name}.txt"
    if not kept.is_file():
        raise NotFetched(name)
    return kept.read_text(encoding="utf-8")


def fetch_text(name: str, progress: Progress = silent) -> None:
    """Fetch a text and keep it.

    Raises
    ------
    Refusal
        ``datasets`` is not installed, or the hub cannot be reached.
    """
    kept = subfolder("texts") / f"{name}.txt"
    if not kept.is_file():
        write_atomically(kept, _fetched(name, HUB_TEXTS[name], progress))


def fetching(work: Callable[[], object], progress: Progress = silent) -> None:
    """Do what needs texts, again after each that had to be fetched."""
    while True:
        try:
            work()
            return
        except NotFetched as absent:
            fetch_text(absent.name, progress)


def _fetched(name: str, part: HubText, progress: Progress) -> str:
    try:
        import datasets
    except ImportError as error:
        raise Refusal(
            f"The text '{name}' needs the library `datasets`: install it with `pip install datasets`, or choose "
            "prose, which needs nothing."
        ) from error
    try:
        rows = datasets.load_dataset(part.path, part.config, split="validation", streaming=True)
        texts: list[str] = []
        for row in islice(rows, part.rows):
            texts.append(row["text"])
            progress(0, 0, f"{plural(len(texts), 'row')} read")
        return part.joint.join(texts)
    except (OSError, ValueError, RuntimeError) as error:
        raise Refusal(
            f"The text '{name}' is not on this machine, and the hub cannot be reached ({type(error).__name__}). Choose "
            "prose, which needs no network, or name a .txt file."
        ) from error
