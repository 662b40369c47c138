"""Bytes that somebody else wrote: they are a result, or a CodecError, and nothing else comes out."""

import io
import json
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cache.codec import CodecError, decode, encode

PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
PLACED = st.builds(lambda n: {"\0array": n}, st.integers(-1, 2) | st.text(max_size=3) | st.none() | st.lists(st.none()))
TREES = st.recursive(PLAIN | PLACED, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner), max_leaves=9)
SHAPES = st.tuples() | st.tuples(st.integers(-2, 9)) | st.tuples(st.sampled_from([-1, 2**31, 2**62, 10**30]), st.integers(0, 3))
KINDS = st.sampled_from(["", *"<f4 |O |V8 <U9 >i8 |b1 <M8[ns] S99999 f <f3 O nonsense <f4,<i2".split()])
ODD = ["(" * 500, "[" * 9999, "-" * 9999 + "1", "{'a': 1L", "'''", "\\", "\t\n  x\n y", "9" * 5000, "{**{}}", "0x", "1if 1else"]
HEADERS = (
    st.builds(lambda d, o, s: str({"descr": d, "fortran_order": o, "shape": s}), KINDS | PLAIN, PLAIN, SHAPES | PLAIN)
    | st.text(max_size=99)
    | st.sampled_from(ODD)
)


def told(payload):
    """Decode; whatever is wrong is said in a sentence."""
    try:
        assert isinstance(decode(payload), dict)
    except CodecError as error:
        assert str(error)


def member(version, header, content):
    """An npy member with any header."""
    text = header.encode("utf-8", "replace")
    length = struct.pack("<H", len(text) % 2**16) if version == 1 else struct.pack("<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text + content


def archive(tree, *arrays):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        zipped.writestr("tree.json", tree)
        for place, array in enumerate(arrays):
            zipped.writestr(f"{place}.npy", array)
    return file.getvalue()


@given(st.binary(max_size=400), st.integers(0, 600), st.integers(0, 600))
@settings(deadline=None, max_examples=500)
def test_any_bytes(data, begin, end):
    told(data)
    whole = encode({"x": np.arange(9.0), "y": [1, None]})
    told(whole[:begin] + data + whole[end:])


@given(TREES)
@settings(deadline=None, max_examples=300)
def test_any_tree(tree):
    told(archive(json.dumps(tree), member(1, str({"descr": "<f4", "fortran_order": False, "shape": (2,)}), bytes(8))))


@given(st.sampled_from([0, 1, 2, 3, 9]), HEADERS, st.binary(max_size=64))
@example(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,", b"")
@settings(deadline=None, max_examples=500)
def test_any_header_of_an_array(version, header, content):
    told(archive('{"x": {"\\u0000array": 0}}', member(version, header, content)))


def test_a_tree_that_is_nested_deeply():
    told(archive("[" * 100_000))
    told(archive('{"a":' * 100_000 + "1" + "}" * 100_000))
    told(archive('{"a": ' + "9" * 5000 + "}"))


def test_a_tree_that_would_fill_the_memory_is_not_read(monkeypatch):
    payload = encode({"rows": [[] for _ in range(1000)]})
    monkeypatch.setattr("cache.codec._LONGEST", 1000)
    with pytest.raises(CodecError, match="a tree of more than 1,000 bytes"):
        decode(payload)
    with pytest.raises(CodecError, match="at most 1,000 can be kept: ask for less"):
        encode({"rows": [[] for _ in range(1000)]})
