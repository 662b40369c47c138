"""How far two answers to one prompt are apart."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from measures.text import first_divergence, loop, repetition, rouge_l, unmatched
from models.generate import Token
from probes.generation.answers import AnswersResult
from refusal import plural

ORDERS = ("as written", "KL, highest first", "ROUGE-L, lowest first", "first difference, earliest first")
_EARLY = 2  # an answer ends early if the dense one is so many times as long


@dataclass(frozen=True)
class Apart:
    """One answer beside the dense model's.

    Attributes
    ----------
    first : int or None
        The first token that differs, from 0; None: none, while both go on.
    differing : float
        Share of its tokens that the best alignment does not find in the dense answer.
    rouge_l : float
    kl : float
        Mean KL(dense‖pruned) in nats per token on the dense model's answer; NaN of another model, whose KL is from its own.
    repetition : float
        Share of 4-grams of tokens seen earlier in the answer.
    loop : int or None
        The token from which it repeats itself to the end.
    tokens, dense_tokens : int
    early : bool
        It ended by itself, and the dense answer is twice as long or more.
    """

    first: int | None
    differing: float
    rouge_l: float
    kl: float
    repetition: float
    loop: int | None
    tokens: int
    dense_tokens: int
    early: bool

    @property
    def marks(self) -> list[str]:
        """What a reader should notice, in words."""
        found = [] if self.loop is None else [f"loops from token {self.loop + 1}"]
        return found + ([f"ends early: {plural(self.tokens, 'token')}, dense {self.dense_tokens}"] if self.early else [])


def apart(dense: AnswersResult, other: AnswersResult, prompt: int, same_model: bool = True) -> Apart:
    """What `Apart` tells of an answer.

    Parameters
    ----------
    same_model : bool
        Whether both are of one model, so that ids can be compared and KL is from this dense one; else the texts that tokens
        add are compared.
    """
    ours, theirs = (written(each, prompt) for each in (other, dense))
    one, two = ([token.id if same_model else token.piece for token in each] for each in (ours, theirs))
    said = [token.id for token in ours if not token.ends]
    return Apart(
        first=first_divergence(two, one),
        differing=len(unmatched(one, two)) / len(one) if one else 0.0,
        rouge_l=rouge_l(other.texts[prompt], dense.texts[prompt]),
        kl=float(other.kl[prompt]) if same_model else math.nan,
        repetition=repetition(said),
        loop=loop(said),
        tokens=len(said),
        dense_tokens=sum(not token.ends for token in theirs),
        early=other.ended[prompt] and sum(not token.ends for token in theirs) >= _EARLY * max(1, len(said)),
    )


def written(result: AnswersResult, prompt: int) -> list[Token]:
    """An answer as the tokens that were written; times are not kept."""
    count = len(result.pieces[prompt])
    runners = [
        tuple(zip(names, chances.tolist(), strict=True))
        for names, chances in zip(result.runners[prompt], result.runner_probabilities[prompt], strict=False)
    ]
    return [
        Token(
            int(result.ids[prompt, i]), result.pieces[prompt][i], float(result.probabilities[prompt, i]), runners[i], 0.0,
            result.ended[prompt] and i == count - 1,
        )
        for i in range(count)
    ]  # fmt: skip


def ordered(found: list[list[Apart]], order: str) -> list[int]:
    """Places of prompts in one of the `ORDERS`, by the column that is farthest apart.

    Parameters
    ----------
    found : by prompt, then by column beside the dense one
    """
    keys: dict[str, Callable[[list[Apart]], float]] = {
        ORDERS[0]: lambda row: 0.0,
        ORDERS[1]: lambda row: -max((each.kl for each in row if not math.isnan(each.kl)), default=-1.0),
        ORDERS[2]: lambda row: min(each.rouge_l for each in row),
        ORDERS[3]: lambda row: min((each.first for each in row if each.first is not None), default=math.inf),
    }
    return sorted(range(len(found)), key=lambda i: keys[order](found[i]))
