"""Items with options of which one is right: the built-in ones, and anybody's own as JSON lines.

A line is ``{"question": …, "options": [2 to 5 texts], "answer": place, letter or text, "category": …}``. A question that
ends with a question mark is asked; every other one is a text that an option goes on with.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from refusal import Refusal
from texts.prompts import is_text
from texts.sources import digest_of

LETTERS = "ABCDE"
OWN = "own items"
_BUILTIN = Path(__file__).with_name("items.jsonl")
_MOST, _TOLD = 5000, 5
_EXAMPLE = '{"question": "2 + 2 =", "options": ["3", "4"], "answer": 1}'


@dataclass(frozen=True)
class Item:
    """A question, its options and the place of the right one, counted from 0."""

    question: str
    options: tuple[str, ...]
    answer: int
    category: str = OWN

    @property
    def asked(self) -> bool:
        """Whether it is a question; else its options go on with it."""
        return self.question.endswith(("?", "？", "؟"))

    @property
    def lettered(self) -> str:
        """The prompt that a letter answers."""
        options = (f"{letter}. {option}" for letter, option in zip(LETTERS, self.options, strict=False))
        gap = "" if self.asked else " …"
        return "\n".join([f"Question: {self.question}{gap}", *options, "Answer:"])

    @property
    def opened(self) -> str:
        """The prompt that the text of an option answers."""
        return f"Question: {self.question}\nAnswer:" if self.asked else self.question


@cache
def builtin() -> tuple[Item, ...]:
    """104 items written for small models: facts, arithmetic, grammar, common sense; each place is right equally often."""
    return read_items(_BUILTIN.read_text(encoding="utf-8"))


@cache
def digest() -> str:
    """sha256 of the built-in items, for the key of a question that uses them."""
    return digest_of(_BUILTIN.read_text(encoding="utf-8"))


def read_items(text: str) -> tuple[Item, ...]:
    """Items from JSON lines; lines that are blank are passed over.

    Raises
    ------
    Refusal
        With the number of each bad line (the first five of them) and what is wrong with it.
    """
    items, bad = [], []
    for number, line in enumerate(text.split("\n"), 1):  # JSON may hold the other line ends of Unicode
        if not line.strip():
            continue
        try:
            items.append(_item(line))
        except ValueError as error:
            bad.append(f"line {number}: {error}")
    if bad:
        more = f"; and {len(bad) - _TOLD} more" if len(bad) > _TOLD else ""
        raise Refusal(f"The items cannot be read: {'; '.join(bad[:_TOLD])}{more}. Write one item per line, like {_EXAMPLE}.")
    if not items:
        raise Refusal(f"There is no item in this text. Write one per line, like {_EXAMPLE}.")
    if len(items) > _MOST:
        raise Refusal(f"{len(items)} items are too many to wait for. Give at most {_MOST}.")
    return tuple(items)


def _item(line: str) -> Item:
    try:
        given = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("this is not JSON") from None
    if not isinstance(given, dict):
        raise ValueError("this is not a JSON object")
    if missing := [name for name in ("question", "options", "answer") if name not in given]:
        raise ValueError(f"it has no {' and no '.join(missing)}")
    question, category = given["question"], given.get("category", OWN)
    for name, value in (("question", question), ("category", category)):
        if not isinstance(value, str) or not value.strip() or not is_text(value):
            raise ValueError(f"its {name} is not text")
    options = _options(given["options"])
    return Item(question.strip(), options, _place(given["answer"], options), category.strip())


def _options(given: Any) -> tuple[str, ...]:
    if not isinstance(given, list) or not 2 <= len(given) <= len(LETTERS):
        raise ValueError(f"its options are not a list of 2 to {len(LETTERS)} strings")
    if not all(isinstance(option, str | int | float) and not isinstance(option, bool) for option in given):
        raise ValueError("an option is neither a string nor a number")
    options = tuple(str(option).strip() for option in given)
    if "" in options:
        raise ValueError("an option is empty")
    if not is_text("".join(options)):
        raise ValueError("an option is not text")
    if len(set(options)) < len(options):
        raise ValueError("two of its options are equal")
    return options


def _place(answer: Any, options: tuple[str, ...]) -> int:
    """A number is a place, counted from 0; a text is the option itself or else its letter."""
    letters = LETTERS[: len(options)]
    if isinstance(answer, int) and not isinstance(answer, bool):
        if not 0 <= answer < len(options):
            raise ValueError(f"its answer {answer} is not an index from 0 to {len(options) - 1}")
        return answer
    text = answer.strip() if isinstance(answer, str) else ""
    if text in options:
        return options.index(text)
    if len(text) == 1 and text.upper() in letters:
        return letters.index(text.upper())
    raise ValueError(f"its answer {json.dumps(answer)} is none of its options, nor a letter from A to {letters[-1]}")
