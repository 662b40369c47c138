"""Codec: what goes in comes out, and nothing else ever comes out."""

import io
import json
import math
import zipfile

import numpy as np
import pytest

from cache.codec import CodecError, decode, encode

RESULT = {
    "matrix": np.arange(12, dtype=np.float32).reshape(3, 4),
    "rows": [{"layer": 0, "values": np.array([1.5, np.nan, -np.inf])}, {"layer": 1, "values": np.zeros((0, 2))}],
    "text": "é ∑ \0",
    "numbers": [1, -0.0, 1e300, 2**70, True, None],
}


def same(one: object, other: object) -> bool:
    """Equal in type, dtype, shape and value; NaN equals NaN."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other or (one != one and other != other)


def test_a_result_comes_back_as_it_was():
    assert same(decode(encode(RESULT)), RESULT)


@pytest.mark.parametrize("dtype", ["?", "i1", "u8", ">i4", "f2", "f4", "f8", "c8", "S3", "U3", "m8[s]", "M8[D]"])
def test_every_allowed_dtype_comes_back(dtype):
    array = np.arange(6).astype(">i4" if dtype == "S3" else "i8").astype(dtype).reshape(2, 3)
    assert same(decode(encode({"x": array, "t": array.T[1:]}))["x"], array)
    assert np.array_equal(decode(encode({"t": array.T[1:]}))["t"], array.T[1:])


def test_numbers_json_does_not_know_survive():
    back = decode(encode({"x": [math.nan, math.inf, -math.inf]}))["x"]
    assert math.isnan(back[0]) and back[1:] == [math.inf, -math.inf]


def test_tuples_come_back_as_lists():
    assert decode(encode({"x": (1, (2, 3))})) == {"x": [1, [2, 3]]}


def test_equal_results_give_equal_bytes():
    assert encode(RESULT) == encode(RESULT)
    members = zipfile.ZipFile(io.BytesIO(encode(RESULT))).infolist()
    assert {member.date_time for member in members} == {(1980, 1, 1, 0, 0, 0)}  # no trace of when it was written


def test_an_array_costs_its_bytes():
    array = np.zeros(100_000, np.float32)
    assert len(encode({"x": array})) < array.nbytes + 1000


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (np.array([{}], dtype=object), "array of object"),
        (np.zeros(2, dtype=[("a", "O")]), "array of "),
        (np.zeros(2, dtype="V2"), "array of "),
        (np.ma.masked_array([1.0], [True]), "MaskedArray"),
        (np.float32(1), "float32"),
        ({1, 2}, "set"),
        (b"raw", "bytes"),
        ({1: 2}, "key 1"),
        ({"\0array": 0}, "keys of a result must be plain str"),
    ],
)
def test_what_would_not_come_back_is_refused_with_its_place(value, complaint):
    with pytest.raises(CodecError, match=r"the result\['x'\]\[0\].*" + complaint):
        encode({"x": [value]})


def test_a_result_is_a_dict():
    with pytest.raises(CodecError, match="A result is a dict"):
        encode([1])


def test_every_flipped_bit_is_noticed_or_harmless():
    result = {"x": np.arange(3, dtype=np.float32), "y": [1, math.nan]}
    payload = encode(result)
    noticed = 0
    for place in range(len(payload)):
        for bit in range(8):
            damaged = bytearray(payload)
            damaged[place] ^= 1 << bit
            try:
                assert same(decode(bytes(damaged)), result), (place, bit)
            except CodecError:
                noticed += 1
    assert noticed > len(payload) * 4  # the rest are dates and attributes that nobody reads


def test_every_cut_is_noticed():
    payload = encode(RESULT)
    for length in range(len(payload)):
        with pytest.raises(CodecError, match=f"These {length} bytes are not a readable result"):
            decode(payload[:length])


def archive(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        for name, content in members.items():
            zipped.writestr(name.replace("_", "."), content)
    return file.getvalue()


def test_planted_object_arrays_are_not_loaded(tmp_path):
    class Boom:
        def __reduce__(self):
            return (tmp_path.joinpath("ran").touch, ())

    planted = io.BytesIO()
    np.save(planted, np.array([Boom()], dtype=object), allow_pickle=True)
    tree = json.dumps({"x": {"\0array": 0}}).encode()
    with pytest.raises(CodecError, match="not a readable result"):
        decode(archive(**{"tree_json": tree, "0_npy": planted.getvalue()}))
    assert not (tmp_path / "ran").exists()


def test_an_array_has_one_place():
    planted = io.BytesIO()
    np.save(planted, np.zeros(1000))
    tree = json.dumps({"x": [{"\0array": 0}] * 2}).encode()  # a million of these would fill the memory
    with pytest.raises(CodecError, match="not a readable result"):
        decode(archive(**{"tree_json": tree, "0_npy": planted.getvalue()}))


@pytest.mark.parametrize("payload", [b"", b"hello", archive(other_json=b"{}"), archive(tree_json=b"[1]")], ids=range(4))
def test_bytes_that_are_no_result_are_refused(payload):
    with pytest.raises(CodecError, match="ompute it again"):
        decode(payload)
