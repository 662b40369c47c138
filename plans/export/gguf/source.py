"""The GGUF file that a model came from, opened without reading its weights."""

from functools import lru_cache
from pathlib import Path
from typing import Any

from gguf import GGUFEndian, GGUFReader, GGUFValueType

from models.loading import bundled
from refusal import Refusal

_CONVERT = (
    "Remove whole blocks with the export `removed`, and turn its folder into a GGUF file with llama.cpp's "
    "convert_hf_to_gguf.py and llama-quantize."
)


def source_of(name: str) -> Path:
    """The GGUF file behind the name of a model.

    Raises
    ------
    Refusal
        The model was loaded from safetensors.
    """
    if name == bundled.NAME:
        return bundled.gguf()
    path = Path(name).expanduser()
    if path.suffix == ".gguf" and path.is_file():
        return path
    raise Refusal(
        f"{name} was not loaded from a GGUF file, and a GGUF file is written by rewriting one, without quantising "
        f"anything again. {_CONVERT} Or load the model's .gguf file and export the plan from there."
    )


def opened(path: Path) -> GGUFReader:
    """The header of a GGUF file; its tensors are mapped, and read when they are used.

    Raises
    ------
    Refusal
        The file is broken, one part of several, or written for another byte order.
    """
    try:
        status = path.stat()
        reader = _read(path, status.st_size, status.st_mtime_ns)
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise Refusal(f"{path} is broken or not a GGUF file ({error}). Copy or download it again.") from error
    if reader.endianess is not GGUFEndian.LITTLE:
        raise Refusal(f"{path} is a big-endian GGUF file. Convert it first with the command gguf-convert-endian.")
    if (value(reader, "split.count") or 1) > 1:
        raise Refusal(f"{path.name} is one part of several. Join them first with llama-gguf-split --merge, and load that file.")
    if value(reader, "general.architecture") is None or blocks_in(reader) is None:
        raise Refusal(f"{path} does not name its architecture or its number of blocks, so it is not a language model.")
    return reader


@lru_cache(maxsize=1)  # a large vocabulary takes seconds, and an export looks several times
def _read(path: Path, size: int, changed: int) -> GGUFReader:
    return GGUFReader(path)


def value(reader: GGUFReader, key: str) -> Any:
    """What a key of the file says; None: it is not there."""
    field = reader.get_field(key)
    return None if field is None else field.contents()


def of_arch(reader: GGUFReader, key: str) -> Any:
    """What a key says that begins with the name of the architecture, as in ``llama.block_count``."""
    return value(reader, f"{value(reader, 'general.architecture')}.{key}")


def blocks_in(reader: GGUFReader) -> int | None:
    """Number of blocks in the file, with those that only predict further tokens."""
    return of_arch(reader, "block_count")


def listed(reader: GGUFReader, key: str) -> bool:
    """Whether a key holds an array."""
    field = reader.get_field(key)
    return field is not None and field.types[:1] == [GGUFValueType.ARRAY]
