"""Prompts that a model continues: the built-in ones, and anybody's own as lines."""

from refusal import Refusal
from texts.sources import digest_of

PROMPTS = (
    "Why is the sky blue during the day and red in the evening?",
    "Once upon a time, a young fox found a key in the snow.",
    "Write a shopping list for a picnic with four friends.",
    "Write a Python function that tells whether a number is prime.",
    "Anna has 12 apples, gives 5 away and buys 8 more. How many has she now? Explain each step.",
    "Explain to a child how a letter gets from one town to another.",
    "The three most important inventions of the last two hundred years are",
    "Dear neighbour, I am writing to you because",
)
_MOST = 256


def prompts_of(text: str) -> list[str]:
    """One prompt per line that is not blank; of an empty text the built-in prompts.

    Raises
    ------
    Refusal
        All lines are blank, or there are too many.
    """
    prompts = [line.strip() for line in text.splitlines() if line.strip()] if text else list(PROMPTS)
    if not prompts:
        raise Refusal("There is no prompt: all lines are blank. Write one prompt per line, or nothing for the built-in ones.")
    if len(prompts) > _MOST:
        raise Refusal(f"{len(prompts)} prompts are too many to wait for. Write at most {_MOST}, one per line.")
    return prompts


def digest() -> str:
    """sha256 of the built-in prompts, for the key of a question that uses them."""
    return digest_of("\n".join(PROMPTS))
