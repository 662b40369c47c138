"""New safetensors files from old ones, tensor by tensor: no more than one new file is ever in memory."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from models.loading.weight_files import INDEX
from plans.export.files.stored import Change, Stored
from refusal import Progress, Refusal, silent

SHARD = 2 * 10**9  # bytes of a file at most, unless one tensor alone is larger


@dataclass(frozen=True)
class Piece:
    """A tensor to write: from where, under which name, and what happens to it on the way (None: nothing)."""

    name: str
    stored: Stored
    change: Change | None = None


def size_of(pieces: Sequence[Piece]) -> int:
    """Bytes that the new files will hold."""
    return sum(piece.stored.size for piece in pieces)


def write_shards(pieces: Sequence[Piece], folder: Path, progress: Progress = silent) -> None:
    """Write ``model.safetensors``, or numbered shards with their index.

    Raises
    ------
    Refusal
        The disk takes no more.
    """
    groups = list(_grouped(pieces, SHARD))
    names = [f"model-{n:05}-of-{len(groups):05}.safetensors" for n in range(1, len(groups) + 1)]
    names = names if len(groups) > 1 else ["model.safetensors"]
    done, total = 0, size_of(pieces)
    for name, group in zip(names, groups, strict=True):
        try:
            done = _write_one(folder / name, group, done, total, progress)
        except (OSError, SafetensorError) as error:
            raise Refusal(f"{name} could not be written: {error}. Is there room on the disk?") from error
    if len(groups) > 1:
        where = {piece.name: name for name, group in zip(names, groups, strict=True) for piece in group}
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(where.items()))}
        (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _grouped(pieces: Sequence[Piece], shard: int) -> Iterator[list[Piece]]:
    """Pieces in the order of the old files, so that each of these is read once, in groups of at most ``shard`` bytes."""
    group: list[Piece] = []
    size = 0
    for piece in sorted(pieces, key=lambda piece: piece.stored.file):
        if group and size + piece.stored.size > shard:
            yield group
            group, size = [], 0
        group.append(piece)
        size += piece.stored.size
    yield group


def _write_one(target: Path, group: list[Piece], done: int, total: int, progress: Progress) -> int:
    tensors: dict[str, Tensor] = {}
    for file in sorted({piece.stored.file for piece in group}):
        # Read, not mapped: a mapping of a file that is larger than the memory is refused.
        with safe_open(file, framework="pt", backend="pread") as opened:
            for piece in (each for each in group if each.stored.file == file):
                progress(done, total, f"writing {target.name}")
                tensor = opened.get_tensor(piece.stored.name)
                changed = tensor if piece.change is None else piece.change(tensor)
                tensors[piece.name] = changed.to(piece.stored.dtype).contiguous()
                done += piece.stored.size
    save_file(tensors, target, metadata={"format": "pt"})
    return done
