"""Blind votes on answers: rows that are only added, and what they say.

Nobody is told a score before they have voted on every pair, or have said that they will not vote any more.
"""

import hashlib
import json
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations

import numpy as np

from cache.codec import encode
from cache.store import Store
from measures.significance.intervals import bootstrap
from measures.significance.paired import verdict
from measures.significance.ratings import bradley_terry
from probes.base import from_dict
from refusal import Refusal
from settings import data_directory

CHOICES = ("left", "right", "both", "neither")
SEEN = "seen"  # instead of a choice: from here on this person knows the result
_RESAMPLES = 1000


@dataclass(frozen=True)
class Vote:
    """One choice between two answers to one prompt; columns and prompts count from 0, ``texts`` is as in `Pair`."""

    comparison: str
    prompt: int
    left: int
    right: int
    choice: str
    by: str
    at: float = 0.0
    texts: str = ""

    def __post_init__(self) -> None:
        if self.choice not in (*CHOICES, SEEN):
            raise Refusal(f"There is no choice '{self.choice}'. Choose one of: {', '.join(CHOICES)}.")


@dataclass(frozen=True)
class Pair:
    """Two answers to show: the column on the left and the one on the right.

    ``texts`` is a digest of both: if the model's files change and it writes something else, older votes are not about that.
    """

    prompt: int
    left: int
    right: int
    texts: str


@dataclass(frozen=True)
class Rate:
    """What voters think of one column beside another.

    Attributes
    ----------
    first, second : int
        Columns.
    won, lost, tied, alike : int
        Votes for the second, for the first, for both or neither; and prompts on which both wrote the same.
    rate, low, high : float
        Share of votes for the second, a tie counting as half, and its 95 % bootstrap interval over prompts; NaN without votes.
    prompts : int
        On how many prompts there are votes.
    says : str
        ``better``, ``worse``, ``no significant difference``, or ``too few votes to tell``.
    """

    first: int
    second: int
    won: int
    lost: int
    tied: int
    alike: int
    rate: float
    low: float
    high: float
    prompts: int
    says: str


def open_votes() -> Store:
    """Where votes are kept, in the data directory."""
    return Store(data_directory() / "votes")


def cast(store: Store, vote: Vote) -> None:
    """Add a vote. What was voted before stays."""
    store.put(f"{vote.comparison}/{uuid.uuid4().hex}", encode({}), asdict(vote) | {"at": vote.at or time.time()})


def votes_on(store: Store, comparison: str) -> list[Vote]:
    """Every vote on a comparison, in the order they were cast; rows that cannot be read are left out."""
    found = []
    for entry in store.entries(lambda about: about.get("comparison") == comparison):
        try:
            found.append(from_dict(Vote, entry.about))
        except (TypeError, Refusal):
            continue
    return sorted(found, key=lambda vote: vote.at)


def pairs_for(person: str, comparison: str, texts: Sequence[Sequence[str]]) -> list[Pair]:
    """Every pair of different answers in this person's order and with this person's sides; with the dense model first.

    Parameters
    ----------
    texts : by column, one text per prompt
    """
    seed = hashlib.sha256(f"{person} {comparison}".encode()).digest()
    chance = np.random.default_rng(np.frombuffer(seed, dtype=np.uint64))
    found: list[Pair] = []
    pairs = list(combinations(range(len(texts)), 2))
    for with_dense in (True, False):
        here = [
            (i, a, b) for a, b in pairs if (a == 0) == with_dense for i in range(len(texts[0])) if texts[a][i] != texts[b][i]
        ]
        for place in chance.permutation(len(here)):
            prompt, a, b = here[place]
            written = _digest(texts[a][prompt], texts[b][prompt])
            found.append(Pair(prompt, a, b, written) if chance.random() < 0.5 else Pair(prompt, b, a, written))
    return found


def _digest(*texts: str) -> str:
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:16]


def _which(one: Vote | Pair) -> tuple:
    """Which pair it is, whatever the sides."""
    return one.prompt, *sorted((one.left, one.right)), one.texts


def open_for(person: str, pairs: Iterable[Pair], votes: Iterable[Vote]) -> list[Pair]:
    """The pairs this person has not voted on; none once they have seen the result."""
    mine = [vote for vote in votes if vote.by == person]
    if any(vote.choice == SEEN for vote in mine):
        return []
    done = set(map(_which, mine))
    return [pair for pair in pairs if _which(pair) not in done]


def counted(votes: Iterable[Vote], pairs: Iterable[Pair]) -> list[Vote]:
    """The first vote of each person on each of the pairs; what comes after they have seen the result is not blind."""
    there, seen = set(map(_which, pairs)), set()
    found: dict[tuple, Vote] = {}
    for vote in votes:
        if vote.choice == SEEN:
            seen.add(vote.by)
        elif vote.by not in seen and _which(vote) in there:
            found.setdefault((vote.by, *_which(vote)), vote)
    return list(found.values())


def points(vote: Vote, column: int) -> float:
    """What a vote gives to one of its two columns: 1, 0, or half in a tie."""
    if vote.choice not in ("left", "right"):
        return 0.5
    return float(column == (vote.left if vote.choice == "left" else vote.right))


def rate(votes: Sequence[Vote], first: int, second: int, alike: int) -> Rate:
    """What `counted` votes say of a column beside another one."""
    here = [vote for vote in votes if {vote.left, vote.right} == {first, second}]
    gained = np.array([points(vote, second) for vote in here])
    by_prompt: dict[int, list[float]] = {}
    for vote, value in zip(here, gained, strict=True):
        by_prompt.setdefault(vote.prompt, []).append(value)
    means = np.array([np.mean(each) for each in by_prompt.values()])
    low, high = bootstrap(means) if len(means) else (np.nan, np.nan)
    mean = float(means.mean()) if len(means) else np.nan
    found = verdict(mean - 0.5, float(low) - 0.5, float(high) - 0.5, len(means)) if len(means) else 0
    return Rate(
        first, second, int((gained == 1).sum()), int((gained == 0).sum()), int((gained == 0.5).sum()), alike, mean, float(low),
        float(high), len(means), _says(found, len(means)),
    )  # fmt: skip


def _says(found: int, samples: int) -> str:
    if found:
        return "better" if found > 0 else "worse"
    # The rule of `verdict`: below six samples an interval says nothing.
    return "no significant difference" if verdict(1.0, 1.0, 1.0, samples) else "too few votes to tell"


def strengths(votes: Sequence[Vote], columns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bradley–Terry strengths of columns in log-odds against the first, with 95 % bootstrap intervals over prompts.

    Returns
    -------
    float64 arrays of shape (columns,)
        Strength, low and high; NaN where no vote links a column to the first.
    """
    prompts = sorted({vote.prompt for vote in votes})
    tables = np.zeros((len(prompts), columns, columns))
    for vote in votes:
        for one, other in ((vote.left, vote.right), (vote.right, vote.left)):
            tables[prompts.index(vote.prompt), one, other] += points(vote, one)
    if not len(prompts):
        return tuple(np.full((3, columns), np.nan))
    theta, (low, high) = bradley_terry(tables.sum(0)), np.full((2, columns), np.nan)
    if len(prompts) > 1:
        drawn, told = np.random.default_rng(0).integers(len(prompts), size=(_RESAMPLES, len(prompts))), np.isfinite(theta)
        resampled = bradley_terry(tables[drawn].sum(1))[:, told]
        low[told], high[told] = np.nanquantile(resampled, [0.025, 0.975], axis=0)
    return theta, low, high
