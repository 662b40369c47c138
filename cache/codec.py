"""Results as bytes: one zip archive (npz) with one JSON tree and one npy member per array. Nothing in it can run.

``tree.json`` holds the result with every array replaced by ``{"\\u0000array": n}``; array n is the member ``n.npy``.
"""

import io
import json
import struct
import tokenize
import zipfile

import numpy as np
from numpy.lib import format as npy

_TREE = "tree.json"
_LONGEST = 64 * 2**20  # bytes of the tree: JSON takes up to forty times as much memory once it is read
_ARRAY = "\0array"  # no name anyone would type: the encoder refuses it in dicts
# bool, int, uint, float, complex, bytes, text, timedelta, datetime; not object, not void (bfloat16 would lose its name)
_KINDS = "biufcSUmM"
# what zipfile, json and numpy raise on damaged input; a test flips every bit of an archive to know that these are all
DAMAGE = (ValueError, OSError, KeyError, IndexError, EOFError, RuntimeError, MemoryError, TypeError, OverflowError)
DAMAGE += (zipfile.BadZipFile, struct.error)
DAMAGE += (tokenize.TokenError, SyntaxError)  # from numpy, which reads a header as Python does


class CodecError(ValueError):
    """A result that cannot be written, or bytes that are no result. The message is for the person."""


def encode(result: dict) -> bytes:
    """Write a result as bytes; equal results give equal bytes.

    Parameters
    ----------
    result : dict
        JSON values (NaN and infinity are allowed, dict keys are str) with numpy arrays anywhere inside. Tuples come
        back as lists.

    Returns
    -------
    bytes
        For :func:`decode`.

    Raises
    ------
    CodecError
        For object arrays, subclasses of arrays, and anything that is neither a JSON value nor an array.
    """
    if not isinstance(result, dict):
        raise CodecError(f"A result is a dict, not {type(result).__name__}.")
    arrays: list[np.ndarray] = []
    tree = json.dumps(_lift(result, arrays, "the result"))
    if len(tree) > _LONGEST:
        raise CodecError(
            f"This result has {len(tree):,} bytes besides its arrays, and at most {_LONGEST:,} can be kept: ask for less."
        )
    file = io.BytesIO()
    # stored, not deflated: activations hardly shrink, and the checksum of each member is there either way
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo(_TREE), tree)  # ZipInfo has a fixed date: bytes depend on the result alone
        for index, array in enumerate(arrays):
            with archive.open(zipfile.ZipInfo(f"{index}.npy"), "w", force_zip64=True) as member:
                npy.write_array(member, array, allow_pickle=False)
    return file.getvalue()


def decode(payload: bytes) -> dict:
    """Read a result back; raises :class:`CodecError` when the bytes are damaged or were never a result."""
    try:
        with zipfile.ZipFile(io.BytesIO(payload)) as archive:
            # read() takes members whole, so their checksums are tested; an npz read by shape may stop short of it.
            # We never compress: what is compressed is damaged, or a bomb.
            stored = [member for member in archive.infolist() if member.compress_type == zipfile.ZIP_STORED]
            if any(member.filename == _TREE and member.file_size > _LONGEST for member in stored):
                raise ValueError(f"a tree of more than {_LONGEST:,} bytes")
            members = {member.filename: archive.read(member) for member in stored}
        result = _lower(json.loads(members[_TREE]), members)
    except DAMAGE as error:
        raise CodecError(f"These {len(payload)} bytes are not a readable result ({error}); compute it again.") from error
    if not isinstance(result, dict):
        raise CodecError("These bytes hold no result: a result is a dict. Compute it again.")
    return result


def _lift(value: object, arrays: list[np.ndarray], place: str) -> object:
    """Move the arrays out of a value into ``arrays``, leaving their number in its place."""
    if type(value) is np.ndarray:
        if value.dtype.kind not in _KINDS:
            raise CodecError(f"{place} is an array of {value.dtype}: use numbers, bool or text (for example float32).")
        arrays.append(value)
        return {_ARRAY: len(arrays) - 1}
    if isinstance(value, dict):
        for name in value:
            if not isinstance(name, str) or name == _ARRAY:
                raise CodecError(f"{place} has the key {name!r}: keys of a result must be plain str.")
        return {name: _lift(item, arrays, f"{place}[{name!r}]") for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_lift(item, arrays, f"{place}[{index}]") for index, item in enumerate(value)]
    if value is None or isinstance(value, str | int | float):
        return value
    raise CodecError(f"{place} is of type {type(value).__name__}: write a Python number, text or a plain numpy array.")


def _lower(value: object, members: dict[str, bytes]) -> object:
    """Put the arrays back where their numbers stand."""
    if isinstance(value, dict):
        if _ARRAY in value:
            # pop: each array has one place, and a small file that names one a million times is a bomb
            return npy.read_array(io.BytesIO(members.pop(f"{value[_ARRAY]}.npy")), allow_pickle=False)
        return {name: _lower(item, members) for name, item in value.items()}
    return [_lower(item, members) for item in value] if isinstance(value, list) else value
