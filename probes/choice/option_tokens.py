"""Where the continuations of one prompt part, in tokens, and batches of them for a model to read.

Prompt and continuation are tokenized together, as the model would read them: a tokenizer may write " A" as one token or
as two, and may join the end of the prompt with what follows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

import torch
from torch import Tensor

from models.subject import Subject
from refusal import Refusal

_TOKENS, _LOGITS = 2048, 2**25  # of one batch, padding included: 128 MB of logits


@dataclass(frozen=True)
class Fork:
    """Continuations of one prompt.

    Attributes
    ----------
    rows : tuple of lists of int
        Token ids of the prompt with each continuation.
    start : int
        The first token that belongs to a continuation; what is before is the same in all rows.
    parting : int
        The first token that is not the same in all rows: ``start``, but for continuations that begin alike.
    firsts : tuple of int, or None
        The token of each continuation there; None where two have the same one, or one has none left.
    """

    rows: tuple[list[int], ...]
    start: int
    parting: int
    firsts: tuple[int, ...] | None

    @property
    def positions(self) -> int:
        """How many tokens of continuations there are to predict."""
        return sum(len(row) - self.start for row in self.rows)

    @property
    def place(self) -> int:
        """Which of these `positions`, row by row, predicts the parting: in the longest row, where it surely is."""
        longest = max(range(len(self.rows)), key=lambda i: len(self.rows[i]))
        return sum(len(row) - self.start for row in self.rows[:longest]) + self.parting - self.start

    @property
    def trimmed(self) -> "Fork":
        """The prompt up to the parting alone: one row, one position."""
        row = max(self.rows, key=len)
        return Fork((row[: self.parting + 1],), self.parting, self.parting, self.firsts)


def fork(subject: Subject, prompt: str, continuations: Sequence[str], name: str) -> Fork:
    """Tokenize a prompt with each continuation, a space between.

    Raises
    ------
    Refusal
        Two continuations are the same tokens, nothing comes before them, or the model's context is too short. ``name``
        says whose they are.
    """
    rows = tuple(_ids(subject, f"{prompt} {each}") for each in continuations)
    if len(set(map(tuple, rows))) < len(rows):
        raise Refusal(f"{name}: two of its options are the same tokens to this model. Write them differently.")
    start = min(_common([_ids(subject, prompt), row]) for row in rows)
    if start == 0:
        raise Refusal(f"{name}: its question is too short to stand before the options as a token of its own. Write more.")
    longest = max(map(len, rows))
    if subject.context is not None and longest > subject.context:
        raise Refusal(f"{name} has {longest} tokens, but this model reads at most {subject.context}. Shorten it.")
    parting = _common(rows)
    firsts = tuple(row[parting] for row in rows if len(row) > parting)
    return Fork(rows, start, parting, firsts if len(set(firsts)) == len(rows) else None)


def batches(forks: Sequence[Fork], vocab: int) -> Iterator[list[int]]:
    """Places of forks that are read together, by rising length, so that little is padding.

    A batch has one fork at least, and no more of them than a bounded amount of tokens and logits.
    """
    lengths = [max(map(len, each.rows)) for each in forks]
    batch: list[int] = []
    rows = positions = 0
    for place in sorted(range(len(forks)), key=lengths.__getitem__):
        rows, positions = rows + len(forks[place].rows), positions + forks[place].positions
        if batch and (rows * lengths[place] > _TOKENS or positions * vocab > _LOGITS):
            yield batch
            batch, rows, positions = [], len(forks[place].rows), forks[place].positions
        batch.append(place)
    if batch:
        yield batch


def padded(forks: Sequence[Fork]) -> tuple[Tensor, Tensor]:
    """Token ids and the positions that predict the continuations, both of shape (windows, tokens), a row after another.

    Rows are filled up at the right, with a token that nobody looks back at: each position only sees what is before it.
    """
    rows = [(row, each.start) for each in forks for row in each.rows]
    tokens = torch.zeros(len(rows), max(len(row) for row, _ in rows) - 1, dtype=torch.int64)
    wanted = torch.zeros_like(tokens, dtype=torch.bool)
    for i, (row, start) in enumerate(rows):  # the last token of a row is predicted and not read
        tokens[i, : len(row) - 1] = torch.tensor(row[:-1])
        wanted[i, start - 1 : len(row) - 1] = True
    return tokens, wanted


def _ids(subject: Subject, text: str) -> list[int]:
    ids = subject.tokenizer(text).input_ids
    # Some tokenizers close each text: nothing would follow after that.
    return ids[:-1] if ids and ids[-1] == subject.tokenizer.eos_token_id else ids


def _common(rows: Sequence[Sequence[int]]) -> int:
    """How many tokens all rows begin with."""
    return sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, zip(*rows, strict=False)))
