"""Weight files: which ones a folder has, how many numbers are in them, and their digest."""

import hashlib
import json
from collections import Counter
from contextlib import suppress
from math import prod
from pathlib import Path
from typing import BinaryIO

from safetensors import SafetensorError, safe_open
from transformers import PreTrainedModel

from refusal import Progress, Refusal, silent
from settings import data_directory, write_atomically
from texts.files import opened, read_bytes

ITEMSIZE = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}  # bytes per number
STORED = {"F64": "float64", "F32": "float32", "BF16": "bfloat16", "F16": "float16"}
_STEP = 2**26  # bytes between two words about progress
_LONGEST = 64 * 10**6  # bytes of a JSON file
_HEADER = 32 * 10**6  # bytes of the header of a safetensors file: 200,000 tensors
INDEX = "model.safetensors.index.json"
TEXTS = (
    "*.json",
    "*.model",
    "*.txt",
    "*.jinja",
    "*.py",
    "mergekit_config.yml",
    "mergekit_config.yaml",
)  # what besides the weights changes what a model says


def weight_files(folder: Path, trusted: bool = False) -> list[Path]:
    """The safetensors files that transformers will read, in order of name.

    Parameters
    ----------
    trusted : bool
        Pickled ``.bin`` files are taken when there is no safetensors file.

    Raises
    ------
    Refusal
        There are none, one is missing, or only pickled ones are there.
    """
    if (folder / "model.safetensors").is_file():
        return [folder / "model.safetensors"]
    if (folder / INDEX).is_file():
        shards = sorted({folder / name for name in _named(folder / INDEX)})
        missing = [shard.name for shard in shards if not shard.is_file()]
        if missing or not shards:
            raise Refusal(f"{folder} lacks {', '.join(missing) or 'weights'}, named in {INDEX}. Copy the whole folder again.")
        return shards
    pickled = sorted(folder.glob("*.bin"))
    if pickled and trusted:
        return pickled
    if pickled:
        raise Refusal(
            f"The weights of {folder} are pickled ({pickled[0].name}), and loading a pickle may run any program. Save "
            "them as safetensors, or let the operator list this model in PRUNESCOPE_TRUST."
        )
    raise Refusal(f"{folder} has no model.safetensors. Save the model there with `save_pretrained`.")


def _named(index: Path) -> set[str]:
    """The files that an index names, which stand beside it."""
    named = read_json(index).get("weight_map")
    if not isinstance(named, dict) or not all(isinstance(name, str) for name in named.values()):
        raise Refusal(f"{index} must map each tensor to the name of a file. Save the model again.")
    for name in set(named.values()):
        # transformers follows any path, and reads what is there
        if Path(name).name != name or "\\" in name or not name.endswith(".safetensors"):
            raise Refusal(
                f"{index} names '{name[:200]}'. An index names safetensors files that stand beside it, without a path."
            )
    return set(named.values())


def headers(file: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Dtype and shape of each tensor in a safetensors file, by name.

    Raises
    ------
    Refusal
        The file is cut short or is no safetensors file.
    """
    with opened(file) as start:
        length = int.from_bytes(start.read(8), "little")
    if length > _HEADER and length <= file.stat().st_size:  # else it is broken, which the library tells
        raise Refusal(
            f"The header of {file} has {length / 1e6:,.0f} MB, but no model has one of more than {_HEADER / 1e6:g} MB."
        )
    try:
        with safe_open(file, framework="np") as tensors:  # "pt" maps files into memory, which is refused for huge ones
            slices = {name: tensors.get_slice(name) for name in tensors.keys()}  # noqa: SIM118 - a safe_open is not a dict
            return {name: (each.get_dtype(), tuple(each.get_shape())) for name, each in slices.items()}
    except (SafetensorError, OSError) as error:
        raise Refusal(f"{file} is broken or cut short ({error}). Copy or download it again.") from error


def counted(files: list[Path]) -> tuple[int, str]:
    """Read the headers: how many numbers there are, and the dtype of most of them.

    Raises
    ------
    Refusal
        A file is cut short or is no safetensors file.
    """
    numbers: Counter[str] = Counter()
    for file in files:
        if file.suffix == ".bin":  # pickled: unknown before it is loaded, so count as if two bytes each
            numbers["F16"] += file.stat().st_size // 2
            continue
        for stored, shape in headers(file).values():
            numbers[stored] += prod(shape)
    floats = {STORED[name]: count for name, count in numbers.items() if name in STORED}
    return numbers.total(), max(floats, key=floats.__getitem__, default="float32")


def fingerprint_of(folder: Path, files: list[Path], dtype: str, progress: Progress = silent) -> str:
    """sha256 of everything that makes a model: config, tokenizer, weights, and the dtype it computes in.

    Neither the path nor the version of transformers that wrote the config counts: a copy is the same model.
    """
    config = read_json(folder / "config.json") if (folder / "config.json").is_file() else {}
    kept = {key: value for key, value in config.items() if key not in ("transformers_version", "_name_or_path")}
    texts = {path for pattern in TEXTS for path in folder.glob(pattern) if path.is_file()} - {folder / "config.json"}
    about = [dtype, kept, *([path.name, digest(path, progress)] for path in sorted({*texts, *files}))]
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def digest(path: Path, progress: Progress = silent) -> str:
    """sha256 of a file, remembered by path, size and time of change so that large files are read once."""
    memory = data_directory() / "digests.json"
    path = path.resolve()
    status = path.stat()
    seen = [status.st_size, status.st_mtime_ns]
    known = _remembered(memory)
    if known.get(str(path), [])[:2] != seen:
        with path.open("rb") as file:
            counted = _CountedFile(file, status.st_size, progress)
            known[str(path)] = [*seen, hashlib.file_digest(counted, "sha256").hexdigest()]
        # Two processes at once may forget each other's entry, a full disk forgets this one: it is then worked out again.
        with suppress(OSError):
            write_atomically(memory, json.dumps({name: row for name, row in known.items() if Path(name).exists()}))
    return known[str(path)][2]


class _CountedFile:
    """A binary file that reports how much of it was read: hashing tens of GB takes a while, and can be cancelled."""

    def __init__(self, file: BinaryIO, size: int, progress: Progress) -> None:
        self._file, self._size, self._progress, self._read = file, size, progress, 0

    def readable(self) -> bool:
        """As files."""
        return True

    def readinto(self, room: bytearray) -> int:
        """As files."""
        got = self._file.readinto(room)
        if (self._read + got) // _STEP > self._read // _STEP:
            self._progress(self._read + got, self._size, "reading the fingerprint")
        self._read += got
        return got


def unmark(model: PreTrainedModel) -> None:
    """Forget that the weights once were quantised: they are plain tensors now, and transformers would not save them."""
    for mark in ("hf_quantizer", "is_quantized", "quantization_method"):
        model.__dict__.pop(mark, None)
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config


def read_json(path: Path) -> dict:
    """A JSON object from a file.

    Raises
    ------
    Refusal
        The file is not JSON, not an object, or too large.
    """
    try:
        value = json.loads(read_bytes(path, _LONGEST).decode("utf-8"))
    except Refusal:
        raise
    except (ValueError, RecursionError) as error:
        said = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise Refusal(f"{path} cannot be read as JSON: {said}.") from error
    if not isinstance(value, dict):
        raise Refusal(f"{path} must hold a JSON object, written in braces.")
    return value


def _remembered(memory: Path) -> dict[str, list]:
    try:
        found = json.loads(memory.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError, RecursionError):  # no digests yet, or not ours: they can be worked out again
        return {}
    rows = found.items() if isinstance(found, dict) else ()
    return {name: row for name, row in rows if isinstance(row, list) and len(row) == 3}
