"""Prompts: the built-in ones, and lines that somebody writes."""

import pytest

from refusal import Refusal
from texts import prompts
from texts.prompts import PROMPTS, prompts_of


def test_lines_are_prompts_and_nothing_means_the_built_in_ones():
    assert prompts_of(" one \n\n two\n") == ["one", "two"]
    assert prompts_of("") == list(PROMPTS) and len(set(PROMPTS)) == 8


@pytest.mark.parametrize(
    "text, says", [(" \n\n", "all lines are blank"), ("x\n" * 257, "257 prompts are too many .* at most 256")]
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
