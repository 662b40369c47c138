"""Where options diverge, in tokens of tokenizers with all kinds of habits."""

from types import SimpleNamespace

import pytest

from probes.choice.option_tokens import batches_by_length, padded, tokenize_options
from refusal import Refusal
from tests.probes.characters import character_tokenizer


def subject_with(tokenizer):
    return SimpleNamespace(tokenizer=tokenizer, context=64)


def coded(codes, end=None):
    """A tokenizer that knows these texts."""

    class Coded:
        eos_token_id = end

        def __call__(self, text):
            return SimpleNamespace(input_ids=codes[text])

    return subject_with(Coded())


def test_where_options_diverge():
    one = tokenize_options(coded({"q": [1, 5], "q a": [1, 5, 7, 8], "q b": [1, 5, 9]}), "q", "ab", "Item 0")
    assert (one.start, one.divergence, one.firsts, one.positions, one.deciding) == (2, 2, (7, 9), 3, 0)
    alike = tokenize_options(coded({"q": [1, 5], "q a": [1, 5, 6, 7], "q b": [1, 5, 6, 9, 4]}), "q", "ab", "Item 0")
    assert (alike.start, alike.divergence, alike.firsts, alike.positions, alike.deciding) == (2, 3, (7, 9), 5, 3)
    assert alike.trimmed.rows == ([1, 5, 6, 9],) and alike.trimmed.positions == 1 and alike.trimmed.deciding == 0


def test_a_tokenizer_that_joins_prompt_and_option():
    joined = tokenize_options(coded({"q": [1, 5], "q a": [1, 6], "q b": [1, 5, 9]}), "q", "ab", "Item 0")
    assert (joined.start, joined.divergence, joined.firsts) == (1, 1, (6, 5))


def test_a_tokenizer_that_closes_each_text():
    closed = tokenize_options(coded({"q": [1, 5, 2], "q a": [1, 5, 7, 2], "q b": [1, 5, 9, 2]}, end=2), "q", "ab", "Item 0")
    assert closed.rows == ([1, 5, 7], [1, 5, 9]) and closed.start == 2


@pytest.mark.parametrize(
    "codes, says",
    [
        ({"q": [1], "q a": [1, 7], "q b": [1, 7]}, "Item 4: two of its options are the same tokens"),
        ({"q": [1], "q a": [3, 7], "q b": [2, 7]}, "Item 4: its question is too short"),
        ({"q": [1, 5], "q a": [1, 5], "q b": [1, 5, 9]}, "Item 4: this model's tokenizer turns the option 'a' into no tokens"),
        ({"q": [], "q a": [], "q b": [9]}, "Item 4: its question is too short"),
        ({"q": [1], "q a": [1] * 65, "q b": [1, 2]}, "Item 4 has 65 tokens, but this model reads at most 64"),
    ],
)
def test_options_that_cannot_be_asked(codes, says):
    with pytest.raises(Refusal, match=says):
        tokenize_options(coded(codes), "q", "ab", "Item 4")


def test_batches_hold_all_and_not_too_much():
    options = [
        tokenize_options(subject_with(character_tokenizer()), "x" * (5 + place % 7), ["a", "bc"], "") for place in range(200)
    ]
    found = list(batches_by_length(options, 97))
    assert sorted(place for batch in found for place in batch) == list(range(200)) and 1 < len(found) < 30
    for batch in found:
        assert padded([options[place] for place in batch])[0].numel() <= 2048
    lengths = [len(options[place].rows[1]) for batch in found for place in batch]
    assert lengths == sorted(lengths)  # little is padding
    assert list(batches_by_length(options[2::-1], 2**40)) == [[2], [1], [0]]
