"""Prompts: the built-in ones, and lines that somebody writes."""

import pytest

from refusal import Refusal
from texts import prompts
from texts.prompts import PROMPTS, as_lines, prompts_of


def test_lines_are_prompts_and_nothing_means_the_built_in_ones():
    assert prompts_of(" one \n\n two\n") == ["one", "two"]
    assert prompts_of("") == list(PROMPTS) and len(set(PROMPTS)) == 8


@pytest.mark.parametrize(
    "text, says",
    [
        (" \n\n", "all lines are blank"),
        ("x\n" * 257, "257 prompts are too many .* at most 256"),
        ("a\nb\udcff", "a lone surrogate"),
        ('{"prompt": "\\ud800"}', "a lone surrogate"),
    ],
)
def test_refusals(text, says):
    with pytest.raises(Refusal, match=says):
        prompts_of(text)
    assert len(prompts_of("x\n" * 256)) == 256


def test_another_prompt_has_another_digest(monkeypatch):
    before = prompts.digest()
    assert len(before) == 64 and before == prompts.digest()
    monkeypatch.setattr(prompts, "PROMPTS", (*PROMPTS[:-1], "Dear neighbour,"))
    assert prompts.digest() != before


def test_json_lines_may_hold_line_breaks():
    assert prompts_of('{"prompt": "one\\ntwo"}\n\n{"text": " three "}') == ["one\ntwo", "three"]
    assert prompts_of("[1]\n{half") == ["[1]", "{half"]


@pytest.mark.parametrize("line", ["plain", '{"prompt": 3}', '{"prompt": " "}'])
def test_a_json_line_without_a_prompt_is_told_with_its_number(line):
    with pytest.raises(Refusal, match="Line 2 of the prompts"):
        prompts_of('{"prompt": "a"}\n' + line)


@pytest.mark.parametrize("prompts", [["one", "two"], ["one\ntwo"], ['{"prompt": "a"}'], ["a", '{"b": 1}']])
def test_prompts_as_lines_are_the_same_prompts(prompts):
    assert prompts_of(as_lines(prompts)) == prompts
