"""Blind votes: which pairs are shown to whom, what counts, and what may be said of it."""

from dataclasses import replace

import numpy as np
import pytest

from cache.store import Store
from probes.generation.votes import SEEN, Vote, cast, counted, open_for, pairs_for, rate, strengths, votes_on
from refusal import Refusal

TEXTS = [["a", "b", "c"], ["a", "x", "y"], ["p", "q", "c"]]


def vote(prompt, left, right, choice, by="ann", at=1.0):
    return Vote("id", prompt, left, right, choice, by, at)


def on(pair, choice, by="ann"):
    return Vote("id", pair.prompt, pair.left, pair.right, choice, by, 1.0, pair.texts)


def test_every_different_pair_is_shown_once_and_dense_ones_first():
    pairs = pairs_for("ann", "id", TEXTS)
    found = [(pair.prompt, *sorted((pair.left, pair.right))) for pair in pairs]
    assert sorted(found) == [(0, 0, 2), (0, 1, 2), (1, 0, 1), (1, 0, 2), (1, 1, 2), (2, 0, 1), (2, 1, 2)]
    assert [0 in each[1:] for each in found] == [True] * 4 + [False] * 3
    assert pairs == pairs_for("ann", "id", TEXTS)


def test_sides_are_shuffled_and_differ_by_person():
    texts = [[str(i) for i in range(200)], [str(-1 - i) for i in range(200)]]
    ann, bob = (pairs_for(name, "id", texts) for name in ("ann", "bob"))
    assert 60 < sum(pair.left == 0 for pair in ann) < 140
    assert [pair.prompt for pair in ann] != [pair.prompt for pair in bob]


def test_what_was_voted_on_is_not_asked_again():
    pairs = pairs_for("ann", "id", TEXTS)
    votes = [on(replace(each, left=each.right, right=each.left), "both") for each in pairs[:2]]  # sides do not matter
    assert open_for("ann", pairs, votes) == pairs[2:]
    assert open_for("bob", pairs, votes) == pairs
    assert open_for("ann", pairs, [*votes, vote(0, 0, 1, SEEN)]) == []


def test_rows_are_only_added_and_the_first_one_counts(tmp_path):
    """A page that was left open in another tab still asks, when the score is known already."""
    store, pairs = Store(tmp_path), pairs_for("ann", "id", TEXTS)
    for at, choice in enumerate(("left", "right"), 1):
        cast(store, replace(on(pairs[0], choice), at=float(at)))
    cast(store, Vote("other", 0, 0, 1, "left", "ann"))
    votes = votes_on(store, "id")
    assert [each.choice for each in votes] == ["left", "right"]
    assert [each.choice for each in counted(votes, pairs)] == ["left"]


def test_who_has_seen_the_result_is_not_counted_any_more():
    first, second, *_ = pairs = pairs_for("ann", "id", TEXTS)
    votes = [on(first, "left"), on(first, SEEN), on(second, "left"), on(second, "right", "bob")]
    assert [(each.by, each.choice) for each in counted(votes, pairs)] == [("ann", "left"), ("bob", "right")]


def test_a_vote_is_about_the_texts_that_were_shown():
    """The model's files change under the same name, and it writes something else."""
    before, now = (pairs_for("ann", "id", [["a", "b"], ["x", second]]) for second in ("y", "z"))
    votes = [on(each, "left") for each in before]
    assert [each.prompt for each in counted(votes, now)] == [0]
    assert [each.prompt for each in open_for("ann", now, votes)] == [1]


@pytest.mark.parametrize("place", [(7, 0, 1), (-1, 0, 1), (0, 0, 7), (0, -1, 1), (0, 1, 1)])
def test_a_planted_vote_on_nothing_is_not_counted(place):
    [pair] = pairs_for("ann", "id", [["a"], ["x"]])
    assert counted([Vote("id", *place, "left", "eve", 1.0, pair.texts)], [pair]) == []


def test_a_row_of_another_kind_is_left_out(tmp_path):
    store = Store(tmp_path)
    cast(store, vote(0, 0, 1, "left"))
    store.put("id/bad", b"", {"comparison": "id", "choice": "left"})
    store.put("id/worse", b"", {"comparison": "id", "prompt": 0, "left": 0, "right": 1, "choice": "up", "by": "x", "at": 1})
    assert len(votes_on(store, "id")) == 1


def test_a_tie_is_half_and_prompts_weigh_the_same():
    votes = [vote(0, 0, 1, "right", "ann"), vote(0, 1, 0, "left", "bob"), vote(1, 0, 1, "left"), vote(2, 0, 1, "both")]
    found = rate(votes, 0, 1, alike=4)
    assert (found.won, found.lost, found.tied, found.alike, found.prompts) == (2, 1, 1, 4, 3)
    assert found.rate == pytest.approx((1 + 0 + 0.5) / 3)
    assert found.says == "too few votes to tell"


@pytest.mark.parametrize(("choice", "says"), [("right", "better"), ("left", "worse"), ("neither", "no significant difference")])
def test_six_prompts_can_tell(choice, says):
    assert rate([vote(i, 0, 1, choice) for i in range(6)], 0, 1, 0).says == says
    assert rate([vote(i, 0, 1, choice) for i in range(5)], 0, 1, 0).says == "too few votes to tell"


def test_without_a_vote_there_is_no_rate():
    found = rate([], 0, 1, 2)
    assert np.isnan(found.rate) and found.says == "too few votes to tell"
    assert np.isnan(strengths([], 3)).all()


def test_strengths_are_in_order_with_intervals_around_them():
    votes = [vote(i, 0, 1, "left" if i % 4 else "right") for i in range(24)]
    votes += [vote(i, 0, 2, "left" if i % 8 else "right") for i in range(24)]
    strength, low, high = strengths(votes, 3)
    assert 0 == strength[0] > strength[1] > strength[2]
    assert (low[1:] < strength[1:]).all() and (strength[1:] < high[1:]).all()


@pytest.mark.filterwarnings("error")
def test_a_column_that_nobody_voted_on_has_no_strength():
    strength, low, high = strengths([vote(i, 0, 1, "left") for i in range(6)], 3)
    assert np.isfinite([strength[:2], low[:2], high[:2]]).all() and np.isnan([strength[2], low[2], high[2]]).all()


def test_another_choice_is_refused():
    with pytest.raises(Refusal, match="no choice 'up'"):
        vote(0, 0, 1, "up")
