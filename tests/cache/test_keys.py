"""Keys: one question, one name; two questions, two names."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.keys import canonical, key

ROOT = Path(__file__).parents[2]
QUESTION = {"probe": "similarity", "plan": ["a3", "m12"], "params": {"lag": 4, "eps": 1e-6, "bos": False, "note": None}}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def shuffled(value: object) -> object:
    """The same value with every dict written in reverse order and every list as a tuple."""
    if isinstance(value, dict):
        return {name: shuffled(value[name]) for name in reversed(value)}
    return tuple(map(shuffled, value)) if isinstance(value, list) else value


def test_canonical_text_is_fixed():
    # answers on people's disks are found by this text: changing it forgets them all
    assert canonical({"b": (1, 1.0, True), "a": {"é": None}}) == '{"a":{"\\u00e9":null},"b":[1,1.0,true]}'
    assert key({"a": 1}) == hashlib.sha256(b'{"a":1}').hexdigest()


@given(VALUES)
def test_order_and_tuples_do_not_matter(value):
    assert canonical(shuffled(value)) == canonical(value)


@given(VALUES, VALUES)
def test_different_values_have_different_texts(one, other):
    # repr tells 1 from 1.0 and from True, where == does not
    assert (canonical(one) == canonical(other)) == (repr(sort(one)) == repr(sort(other)))


def sort(value: object) -> object:
    if isinstance(value, dict):
        return {name: sort(value[name]) for name in sorted(value)}
    return [sort(item) for item in value] if isinstance(value, list) else value


def test_another_process_gives_the_same_key():
    code = f"from cache.keys import key; print(key({QUESTION!r}))"
    environment = {"PYTHONHASHSEED": "7"}
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert out.stdout.strip() == key(QUESTION), out.stderr


@pytest.mark.parametrize("value", [np.float32(1), np.int64(1), np.bool_(True), np.zeros(2), {1}, b"x", object()])
def test_other_types_are_refused_with_their_place(value):
    with pytest.raises(TypeError, match=rf"\['params'\]\[1\] is of type {type(value).__name__}"):
        key({"params": [0, value]})


def test_keys_that_are_no_text_are_refused():
    with pytest.raises(TypeError, match="has the key 1: keys must be str"):
        key({"params": {1: "one"}})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_json_cannot_say_are_refused(value):
    with pytest.raises(ValueError, match=r"\['eps'\] is .*finite numbers only"):
        key({"eps": value})


def test_a_question_is_a_dict():
    with pytest.raises(TypeError, match="A question is a dict"):
        key(["similarity"])
