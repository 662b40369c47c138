"""Measures of a text that a model wrote: how much it repeats itself, and how far it is the same as another text.

Tokens are whatever the caller counts in: ids of a tokenizer, or words.
"""

import math
import re
from collections import defaultdict
from collections.abc import Hashable, Sequence
from difflib import SequenceMatcher

# Chinese and Japanese are written without spaces, so each of their characters counts as a word.
_SINGLE = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_WORD = re.compile(rf"[{_SINGLE}]|[^\W{_SINGLE}]+")
SEQUENCE = 4
_LOOP = 8  # tokens


def distinct(tokens: Sequence[Hashable], n: int) -> float:
    """Distinct-n: distinct n-grams over all n-grams; NaN where there are fewer than n tokens.

    1: no n-gram comes twice. 1 / (number of n-grams): the text repeats a single one.

    References
    ----------
    Li et al. 2016, arXiv 1510.03055, §5 (there divided by the number of tokens, which n-grams cannot reach).
    """
    grams = [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
    return len(set(grams)) / len(grams) if grams else math.nan


def repetition(tokens: Sequence[Hashable]) -> float:
    """Sequence repetition, seq-rep-4: the share of 4-grams seen earlier in the text, from 0; NaN below 4 tokens.

    References
    ----------
    Welleck et al. 2019, arXiv 1908.04319, §6.1.
    """
    return 1 - distinct(tokens, SEQUENCE)


def loop(tokens: Sequence[Hashable], times: int = 3) -> int | None:
    """Where a text begins to go round in circles until its end: the place of the first round, or None.

    Parameters
    ----------
    times : int
        Rounds that make a loop. They span eight tokens or more, so that "ha ha ha" is none.
    """
    tokens, most = list(tokens), len(tokens) // times
    for period in range(1, most + 1):
        same = 0
        while same < len(tokens) - period and tokens[-1 - same] == tokens[-1 - same - period]:
            same += 1
        if same + period >= max(times * period, _LOOP):
            return len(tokens) - same - period
    return None


def words(text: str) -> list[str]:
    """Letters and digits in a row, in lower case; Chinese and Japanese characters one by one."""
    return _WORD.findall(text.lower())


def rouge_l(text: str, reference: str) -> float:
    """ROUGE-L: F1 of the longest common subsequence of `words`, from 0 (none in common) to 1 (the same words).

    Texts without a word are 1 where they are equal, else 0.

    References
    ----------
    Lin 2004, "ROUGE: A package for automatic evaluation of summaries", eq. 2–4 with β = 1.
    """
    ours, theirs = words(text), words(reference)
    if not ours or not theirs:
        return float(text.strip() == reference.strip())
    common = _common_subsequence(ours, theirs)
    return 2 * common / (len(ours) + len(theirs))  # F1 of common/ours and common/theirs


def first_divergence(one: Sequence[Hashable], other: Sequence[Hashable]) -> int | None:
    """The first place where two sequences of tokens differ, or None while one begins with the other."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)


def unmatched(one: Sequence[Hashable], other: Sequence[Hashable]) -> set[int]:
    """Places in ``one`` whose token the best alignment with ``other`` does not find there."""
    blocks = SequenceMatcher(None, one, other, autojunk=False).get_matching_blocks()
    return set(range(len(one))) - {block.a + i for block in blocks for i in range(block.size)}


def _common_subsequence(one: Sequence[Hashable], other: Sequence[Hashable]) -> int:
    """Length of the longest common subsequence.

    Each bit of ``row`` is a place in ``other``, 0 where the subsequence grows by one; all places take one step at once.

    References
    ----------
    Hyyrö 2004, "Bit-parallel LCS-length computation revisited".
    """
    places: dict[Hashable, int] = defaultdict(int)
    for place, each in enumerate(other):
        places[each] |= 1 << place
    every = (1 << len(other)) - 1
    row = every
    for each in one:
        here = row & places.get(each, 0)
        row = ((row + here) | (row - here)) & every
    return len(other) - row.bit_count()
