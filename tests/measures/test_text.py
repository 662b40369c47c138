"""Measures of written texts: closed forms, and a slow second opinion on the longest common subsequence."""

import math
import time
from itertools import combinations

import numpy as np
import pytest

from measures.text import distinct, first_divergence, loop, repetition, rouge_l, unmatched, words


def test_distinct_counts_different_runs():
    assert distinct("abab", 1) == 0.5
    assert distinct("abab", 2) == pytest.approx(2 / 3)
    assert distinct("abab", 3) == 1.0
    assert distinct([7] * 10, 1) == 0.1 and distinct([7] * 10, 3) == 1 / 8
    assert distinct(range(10), 2) == 1.0


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_text_too_short_for_a_run_has_no_share(n):
    assert math.isnan(distinct("ab"[: n - 1], n))
    assert distinct("abc"[:n], n) == 1.0


def test_repetition_is_what_was_there_before():
    assert repetition("abcdabcdabcd") == pytest.approx(1 - 4 / 9)
    assert repetition("abcdefgh") == 0.0
    assert repetition([3] * 104) == pytest.approx(100 / 101)
    assert math.isnan(repetition("abc"))


def test_words_are_letters_and_digits_in_a_row():
    assert words("The cat's 2 legs; THE end.") == ["the", "cat", "s", "2", "legs", "the", "end"]
    assert words("Größe été") == ["größe", "été"]
    assert words("東京 is とても big") == ["東", "京", "is", "と", "て", "も", "big"]


def test_rouge_of_known_pairs():
    assert rouge_l("police kill the gunman", "police killed the gunman") == pytest.approx(0.75)
    assert rouge_l("the gunman kill police", "police killed the gunman") == pytest.approx(0.5)
    assert rouge_l("a b", "a b c d e f") == pytest.approx(2 * 1 * (1 / 3) / (1 + 1 / 3))
    assert rouge_l("Same, text!", "same text") == 1.0
    assert rouge_l("one", "two") == 0.0


@pytest.mark.parametrize(
    "text, reference, expected", [("", "", 1), ("!!", "!!", 1), ("!!", "??", 0), ("", "a", 0), ("a", "", 0)]
)
def test_rouge_without_words(text, reference, expected):
    assert rouge_l(text, reference) == expected


def longest(one, other):
    """By trying all subsequences of the shorter one."""
    for size in range(len(one), 0, -1):
        for chosen in combinations(one, size):
            rest = iter(other)
            if all(any(a == b for b in rest) for a in chosen):
                return size
    return 0


def test_rouge_agrees_with_trying_all_subsequences():
    dice = np.random.default_rng(0)
    for _ in range(60):
        one, other = (list(dice.choice(list("abcd"), dice.integers(1, 9))) for _ in range(2))
        expected = 2 * longest(one, other) / (len(one) + len(other))
        assert rouge_l(" ".join(one), " ".join(other)) == pytest.approx(expected)
        assert rouge_l(" ".join(other), " ".join(one)) == pytest.approx(expected)


def test_rouge_of_long_answers_takes_no_time():
    """Five thousand words that loop, which a table of all pairs would take ten seconds for."""
    one, other = " ".join("ab" * 2500), " ".join("ba" * 2500)
    begun = time.process_time()
    assert rouge_l(one, other) == pytest.approx(4999 / 5000)
    assert time.process_time() - begun < 1


@pytest.mark.parametrize("one, other, place", [("abc", "abc", None), ("ab", "abc", None), ("axc", "abc", 1), ("", "a", None)])
def test_the_first_divergence_is_where_both_have_another_token(one, other, place):
    assert first_divergence(one, other) == first_divergence(other, one) == place


@pytest.mark.parametrize(
    "one, other, places", [("abc", "abc", set()), ("axbc", "abc", {1}), ("abc", "axbc", set()), ("abc", "", {0, 1, 2})]
)
def test_unmatched_tokens_are_those_the_other_text_lacks(one, other, places):
    assert unmatched(one, other) == places


@pytest.mark.parametrize(
    ("text", "begin"),
    [("abcdefghij" + "xyz" * 4, 10), ("ab" + "x" * 9, 2), ("ab" + "x" * 6, None), ("abcdefghabcdefgh", None), ("", None),
     ("abcd" * 3, 0), ("qab" + "xyz" * 3 + "xy", 3)],
)  # fmt: skip
def test_a_loop_begins_with_its_first_round(text, begin):
    assert loop(text) == begin
