"""Prompts that a model continues: the built-in ones, and anybody's own as lines of text or of JSON."""

import json

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

    Where the first line is a JSON object, every line is: its ``prompt`` (or ``text``) may hold line breaks.

    Raises
    ------
    Refusal
        All lines are blank, there are too many, a line of JSON has no prompt, or one holds what is no text.
    """
    if not text:
        return list(PROMPTS)
    lines = [(number, line.strip()) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines:
        raise Refusal("There is no prompt: all lines are blank. Write one prompt per line, or nothing for the built-in ones.")
    if len(lines) > _MOST:
        raise Refusal(f"{len(lines)} prompts are too many to wait for. Write at most {_MOST}, one per line.")
    as_json = isinstance(_parsed(lines[0][1]), dict)
    found = [_prompt(number, _parsed(line)) if as_json else line for number, line in lines]
    if not is_text("".join(found)):
        raise Refusal("The prompts contain a lone surrogate, which is not a character. Write the character itself.")
    return found


def as_lines(prompts: list[str]) -> str:
    """A text of which `prompts_of` makes these prompts again: plain lines where that is possible."""
    text = "\n".join(prompts)
    if prompts and all(prompt == prompt.strip() and prompt for prompt in prompts) and _read_back(text) == prompts:
        return text
    return "\n".join(json.dumps({"prompt": prompt}, ensure_ascii=False) for prompt in prompts)


def _read_back(text: str) -> list[str] | None:
    try:
        return prompts_of(text)
    except Refusal:
        return None


def _parsed(line: str) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _prompt(number: int, given: object) -> str:
    prompt = (given.get("prompt") or given.get("text")) if isinstance(given, dict) else None
    if not isinstance(prompt, str) or not prompt.strip():
        raise Refusal(f'Line {number} of the prompts has no prompt. Write one JSON object per line, as {{"prompt": "Why …?"}}.')
    return prompt.strip()


def is_text(given: str) -> bool:
    """Whether it can be shown and read: JSON may escape halves of a surrogate pair."""
    return not any("\ud800" <= letter <= "\udfff" for letter in given)


def digest() -> str:
    """sha256 of the built-in prompts, for the key of a question that uses them."""
    return digest_of("\n".join(PROMPTS))
