"""People take turns, whoever asks for how much."""

from hypothesis import given
from hypothesis import strategies as st

from cache.queue import Turns


def served(turns):
    found = []
    while turns:
        found.append(turns.next())
    return found


def test_one_question_does_not_wait_for_ten_of_another():
    turns = Turns()
    for i in range(10):
        turns.add("ann", f"a{i}")
    turns.add("bob", "b0")
    assert served(turns)[:3] == ["a0", "b0", "a1"]


def test_who_was_served_comes_behind_everybody_else():
    turns = Turns()
    for who in "abc":
        turns.add(who, f"{who}0")
    turns.add("a", "a1")
    assert turns.next() == "a0"
    turns.add("d", "d0")
    assert served(turns) == ["b0", "c0", "a1", "d0"]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9))))
def test_what_is_foretold_is_what_comes(works):
    turns = Turns()
    for i, (who, what) in enumerate(works):
        turns.add(who, (who, what, i))
    told, found = turns.order(), served(turns)
    assert told == found and sorted(each[2] for each in found) == list(range(len(works)))
    for who in "abc":
        mine = [each[2] for each in found if each[0] == who]
        assert mine == sorted(mine)
