"""Items: the built-in ones, and everything that may be wrong with anybody's own."""

import json
from collections import Counter

import pytest

from probes.base import read_params
from probes.choice.choice_subspace import PROBE
from refusal import Refusal
from texts import items as module
from texts.items import Item, builtin, read_items

GOOD = {"question": "q", "options": ["a", "b"], "answer": 0}


def lines(*items):
    return "\n".join(json.dumps(item) for item in items)


def test_the_built_in_items():
    items = builtin()
    assert len(items) == 104 and len({item.question for item in items}) == 104
    assert {len(item.options) for item in items} == {4}
    assert Counter(item.answer for item in items) == dict.fromkeys(range(4), 26)
    kinds = Counter(item.category for item in items)
    assert set(kinds) == {"facts", "arithmetic", "grammar", "common sense"} and min(kinds.values()) >= 20


def test_other_items_have_another_digest(monkeypatch, tmp_path):
    before = module.digest.__wrapped__()
    assert len(before) == 64 and before == module.digest()
    (tmp_path / "items.jsonl").write_text(lines(GOOD))
    monkeypatch.setattr(module, "_BUILTIN", tmp_path / "items.jsonl")
    assert module.digest.__wrapped__() != before


def test_prompts_of_items():
    asked, begun = Item("Which?", ("x", "y"), 0), Item("It is", ("x", "y"), 0)
    assert asked.opened == "Question: Which?\nAnswer:" and begun.opened == "It is"
    assert asked.lettered == "Question: Which?\nA. x\nB. y\nAnswer:"
    assert begun.lettered == "Question: It is …\nA. x\nB. y\nAnswer:"


@pytest.mark.parametrize(
    "answer, place", [(1, 1), ("B", 1), ("b", 1), ("four", 1), (" four ", 1), ("A", 2), ("c", 2), ("five", 3), ("D", 3)]
)
def test_an_answer_is_a_place_a_text_or_a_letter(answer, place):
    """An option that is itself called A comes before the letter."""
    [item] = read_items(lines({"question": "q", "options": [3, "four", "A", "five"], "answer": answer}))
    assert item.answer == place and item.options == ("3", "four", "A", "five")


@pytest.mark.parametrize(
    "line, says",
    [
        ("nonsense", "line 2: this is not JSON"),
        ("[" * 100_000, "line 2: this is not JSON"),
        ("[1]", "line 2: this is not a JSON object"),
        ("{}", "line 2: it has no question and no options and no answer"),
        (lines(GOOD | {"question": " "}), "line 2: its question is not text"),
        (lines(GOOD | {"category": 3}), "line 2: its category is not text"),
        (lines(GOOD | {"question": "a\ud800"}), "line 2: its question is not text"),
        (lines(GOOD | {"options": ["a", "\udfff"], "answer": 0}), "line 2: an option is not text"),
        (lines(GOOD | {"options": "ab"}), "line 2: its options are not a list of 2 to 5 strings"),
        (lines(GOOD | {"options": ["a"]}), "not a list of 2 to 5 strings"),
        (lines(GOOD | {"options": list("abcdef")}), "not a list of 2 to 5 strings"),
        (lines(GOOD | {"options": ["a", None]}), "an option is neither a string nor a number"),
        (lines(GOOD | {"options": ["a", " "]}), "an option is empty"),
        (lines(GOOD | {"options": ["a", "a "]}), "two of its options are equal"),
        (lines(GOOD | {"answer": 2}), "its answer 2 is not an index from 0 to 1"),
        (lines(GOOD | {"answer": -1}), "its answer -1 is not an index"),
        (lines(GOOD | {"answer": True}), "its answer true is none of its options"),
        (lines(GOOD | {"answer": "C"}), 'its answer "C" is none of its options, nor a letter from A to B'),
        (lines(GOOD | {"answer": None}), "its answer null is none"),
    ],
)
def test_a_bad_line_is_told_by_its_number(line, says):
    text = f"{lines(GOOD)}\n{line}\n\n{lines(GOOD)}"
    with pytest.raises(Refusal) as refusal:
        read_items(text)
    assert says in str(refusal.value)
    with pytest.raises(Refusal, match="line 2"):
        read_params(PROBE, {"items": text})


def test_many_bad_lines_are_told_together():
    with pytest.raises(Refusal, match=r"line 1: .*; line 5: this is not JSON; and 3 more\. Write one item per line, like"):
        read_items("x\n" * 8)


@pytest.mark.parametrize("text", [" ", "\n\n"])
def test_no_items_are_refused(text):
    with pytest.raises(Refusal, match="no item in this text"):
        read_params(PROBE, {"items": text})
