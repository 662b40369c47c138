"""Options as tokens: where the continuations of one prompt diverge, and batches of them for a model to read.

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
class OptionTokens:
    """A prompt with each of its options, tokenized.

    Attributes
    ----------
    rows : tuple of lists of int
        Token ids of the prompt with each option.
    start : int
        The first token that belongs to an option; what comes before is the same in all rows.
    divergence : int
        The first token that is not the same in all rows: ``start``, except for options that begin alike.
    firsts : tuple of int, or None
        The token of each option there; None where two have the same one, or one has none left.
    """

    rows: tuple[list[int], ...]
    start: int
    divergence: int
    firsts: tuple[int, ...] | None

    @property
    def positions(self) -> int:
        """How many tokens of options there are to predict."""
        return sum(len(row) - self.start for row in self.rows)

    @property
    def deciding(self) -> int:
        """Which of these `positions`, row by row, predicts the divergence: in the longest row, which surely has it."""
        longest = max(range(len(self.rows)), key=lambda i: len(self.rows[i]))
        return sum(len(row) - self.start for row in self.rows[:longest]) + self.divergence - self.start

    @property
    def trimmed(self) -> "OptionTokens":
        """The prompt up to the divergence alone: one row, one position."""
        row = max(self.rows, key=len)
        return OptionTokens((row[: self.divergence + 1],), self.divergence, self.divergence, self.firsts)


def tokenize_options(subject: Subject, prompt: str, options: Sequence[str], name: str) -> OptionTokens:
    """Tokenize a prompt with each option, a space between.

    Raises
    ------
    Refusal
        Two options are the same tokens, nothing comes before them, nothing is left of one, or the model's context is too
        short. ``name`` says whose they are.
    """
    before = _ids(subject, prompt)
    rows = tuple(_ids(subject, f"{prompt} {each}") for each in options)
    if len(set(map(tuple, rows))) < len(rows):
        raise Refusal(f"{name}: two of its options are the same tokens to this model. Write them differently.")
    start = min(_common([before, row]) for row in rows)
    if start == 0:
        raise Refusal(f"{name}: its question is too short: none of its tokens come before the options. Write a longer one.")
    if empty := next((option for option, row in zip(options, rows, strict=True) if len(row) <= start), None):
        raise Refusal(
            f"{name}: this model's tokenizer turns the option '{empty[:40]}' into no tokens at all. Write it differently."
        )
    longest = max(map(len, rows))
    if subject.context is not None and longest > subject.context:
        raise Refusal(f"{name} has {longest} tokens, but this model reads at most {subject.context}. Shorten it.")
    divergence = _common(rows)
    firsts = tuple(row[divergence] for row in rows if len(row) > divergence)
    return OptionTokens(rows, start, divergence, firsts if len(set(firsts)) == len(rows) else None)


def batches_by_length(items: Sequence[OptionTokens], vocab: int) -> Iterator[list[int]]:
    """Places of items that are read together, shortest first, so that little is padding.

    A batch has at least one item, and no more of them than fit the limits on tokens and on logits.
    """
    lengths = [max(map(len, each.rows)) for each in items]
    batch: list[int] = []
    rows = positions = 0
    for place in sorted(range(len(items)), key=lengths.__getitem__):
        rows, positions = rows + len(items[place].rows), positions + items[place].positions
        if batch and (rows * lengths[place] > _TOKENS or positions * vocab > _LOGITS):
            yield batch
            batch, rows, positions = [], len(items[place].rows), items[place].positions
        batch.append(place)
    if batch:
        yield batch


def padded(items: Sequence[OptionTokens]) -> tuple[Tensor, list[int]]:
    """Token ids of shape (windows, tokens), and the positions that predict the continuations, counted row by row through all.

    Rows are padded at the right with a token that no position looks at: each one only sees what is before it.
    """
    rows = [(row, each.start) for each in items for row in each.rows]
    tokens = torch.zeros(len(rows), max(len(row) for row, _ in rows) - 1, dtype=torch.int64)
    wanted: list[int] = []
    for i, (row, start) in enumerate(rows):  # the last token of a row is predicted and not read
        tokens[i, : len(row) - 1] = torch.tensor(row[:-1])
        wanted += range(i * tokens.shape[1] + start - 1, i * tokens.shape[1] + len(row) - 1)
    return tokens, wanted


def _ids(subject: Subject, text: str) -> list[int]:
    ids = subject.tokenizer(text).input_ids
    # Some tokenizers close each text: nothing would follow after that.
    return ids[:-1] if ids and ids[-1] == subject.tokenizer.eos_token_id else ids


def _common(rows: Sequence[Sequence[int]]) -> int:
    """How many tokens all rows begin with."""
    return sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, zip(*rows, strict=False)))
