"""The header of a GGUF file, walked by its own lengths: a false one would let the gguf library count for ever.

https://github.com/ggml-org/ggml/blob/master/docs/gguf.md has the layout.
"""

import re
import struct
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

from models.loading.checks.config import DEEPEST
from refusal import Refusal
from texts.files import opened, status_of

_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_TEXT, _ARRAY = 8, 9
_MANY = 5_000_000  # texts in arrays, or tensors: twenty times the largest vocabulary
_NAME = 2**16  # bytes of a key or of the name of a tensor
_MOST = {"block_count": DEEPEST, "embedding_length": 2**20, "context_length": 2**40, "vocab_size": 2**27,
         "attention.head_count": 2**14, "attention.head_count_kv": 2**14}  # fmt: skip


@dataclass(frozen=True)
class GgufHeader:
    """What a GGUF file says of itself.

    Attributes
    ----------
    values : dict
        Numbers and texts by key; of an array its length.
    shapes : dict of str to tuple of int
        Of each tensor, the innermost axis first, as GGUF has it.
    """

    values: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]

    @property
    def numbers(self) -> int:
        """Numbers in all tensors."""
        return sum(map(prod, self.shapes.values()))


def gguf_header(path: Path) -> GgufHeader:
    """Read the header of a GGUF file, and check it against the tensors that the file holds.

    Raises
    ------
    Refusal
        It is broken, cut short or no GGUF file, or it says that the model is deeper or wider than its tensors.
    """
    found = status_of(path)
    if found is None:
        raise Refusal(f"There is no file {path}.")
    return _remembered(path, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=8)  # a page asks for it at each redraw
def _remembered(path: Path, size: int, changed: int) -> GgufHeader:
    try:
        with opened(path) as file:
            header = _Walk(file, size).header()
    except (struct.error, ValueError, KeyError, OverflowError) as error:
        if isinstance(error, Refusal):
            raise
        said = f"the type {error} is unknown" if isinstance(error, KeyError) else str(error)
        raise Refusal(f"{path} is broken or not a GGUF file ({said}). Copy or download it again.") from error
    _refuse_false_sizes(path, header)
    return header


class _Walk:
    """A GGUF file read from its start, where nothing may reach beyond its end."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size, self._order, self._items = file, size, "<", 0

    def header(self) -> GgufHeader:
        if self._file.read(4) != b"GGUF":
            raise ValueError("it does not begin with GGUF")
        version = self._number("I")
        if version & 0xFFFF == 0:  # written by a machine of the other byte order
            self._order, version = ">", struct.unpack(">I", struct.pack("<I", version))[0]
        if version not in (2, 3):
            raise ValueError(f"its version {version} is unknown")
        tensors, keys = self._number("Q"), self._number("Q")
        values: dict[str, Any] = {}
        for _ in self._counted(keys, 13):
            key = self._text(_NAME)
            if key in values:
                raise ValueError(f"it has two values of {key[:80]}")
            values[key] = self._value(self._number("I"))
        infos = [self._tensor() for _ in self._counted(tensors, 25)]
        align = values.get("general.alignment", 32)
        if type(align) is not int or align <= 0:
            raise ValueError("its alignment is not a number above 0")
        start = -(-self._file.tell() // align) * align
        for name, shape, kind, offset in infos:
            block, stored = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
            if start + offset + prod(shape) * stored // block > self._size:
                raise ValueError(f"the tensor {name[:80]} reaches beyond its end")
        return GgufHeader(values, {name: shape for name, shape, _, _ in infos})

    def _tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        name, axes = self._text(_NAME), self._number("I")
        if axes > 8:
            raise ValueError(f"a tensor has {axes} axes")
        shape = tuple(self._number("Q") for _ in range(axes))
        return name, shape, self._number("I"), self._number("Q")

    def _value(self, kind: int, depth: int = 0) -> Any:
        if kind == _TEXT:
            return self._text()
        if kind != _ARRAY:
            return self._number(_NUMBERS[kind])
        if depth > 2:
            raise ValueError("its arrays are nested too deeply")
        inner, length = self._number("I"), self._number("Q")
        if inner in (_TEXT, _ARRAY):
            for _ in self._counted(length, 8):
                self._value(inner, depth + 1) if inner == _ARRAY else self._skip(self._number("Q"))
        else:
            self._skip(length * struct.calcsize(_NUMBERS[inner]))
        return length

    def _counted(self, count: int, least: int) -> range:
        """So many rounds, each of which takes at least so many bytes."""
        self._items += count
        if count * least > self._size - self._file.tell() or self._items > _MANY:
            raise ValueError(f"it says that {count:,} entries follow")
        return range(count)

    def _number(self, form: str) -> Any:
        return struct.unpack(self._order + form, self._file.read(struct.calcsize(form)))[0]

    def _text(self, most: int = 2**20) -> str:
        length = self._number("Q")
        if length > min(most, self._size - self._file.tell()):
            self._skip(length)  # a long value: nobody needs it, and it must fit
            return ""
        return self._file.read(length).decode("utf-8", "replace")

    def _skip(self, length: int) -> None:
        if length > self._size - self._file.tell():
            raise ValueError(f"it says that {length:,} bytes follow")
        self._file.seek(length, 1)


def _refuse_false_sizes(path: Path, header: GgufHeader) -> None:
    """Refuse a model that is said to be deeper or wider than its tensors."""
    architecture = header.values.get("general.architecture")
    if not isinstance(architecture, str) or not architecture:
        raise Refusal(f"{path} does not name its architecture, so it is not a model. Convert the model again.")
    for name, most in _MOST.items():
        value = header.values.get(f"{architecture}.{name}")
        if value is not None and (type(value) is not int or not 1 <= value <= most):
            raise Refusal(f"{name} in {path} must be a whole number from 1 to {most:,}, not {str(value)[:60]}.")
    depths = {int(place[1]) for name in header.shapes if (place := re.match(r"blk\.(\d{1,9})\.", name))}
    layers, width = (header.values.get(f"{architecture}.{name}") for name in ("block_count", "embedding_length"))
    if layers is not None and layers > len(depths):
        raise Refusal(f"{path} says that it has {layers:,} layers, but holds {len(depths)}. Convert the model again.")
    embedding = header.shapes.get("token_embd.weight")
    if width is not None and embedding is not None and embedding[0] != width:
        raise Refusal(f"{path} says that its width is {width:,}, but its embeddings have {embedding[0]:,}. Convert it again.")
