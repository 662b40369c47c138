"""Where exports go: a folder of their own, whole or not at all."""

import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from models.loading.memory import format_bytes
from models.loading.slices import RECORD
from refusal import Refusal
from settings import exports_directory

_STALE = 3600  # seconds since something was put into a folder, after which nobody writes there any more
_SPARE = 100_000_000  # bytes for tokenizer, configs and whoever else writes to that disk


def destination(name: str, overwrite: bool) -> Path:
    """The folder that an export is to become; it is not made yet.

    Parameters
    ----------
    name : str
        Relative to the export folder, or inside it.
    overwrite : bool
        An earlier export may be replaced.

    Raises
    ------
    Refusal
        It is outside the export folder, or something is there.
    """
    root = exports_directory().resolve()
    try:
        target = (root / Path(name).expanduser()).resolve()  # links are followed before it is looked where they lead
    except (OSError, RuntimeError, ValueError) as error:  # of somebody's home that is not there, a loop of links, a NUL
        raise Refusal(f"'{name}' is not a valid folder name: {error}.") from error
    if not name.strip() or target == root or not target.is_relative_to(root):
        raise Refusal(f"'{name}' is not a folder inside {root}, where exports go. PRUNESCOPE_EXPORTS names that folder.")
    if inside := next((each for each in target.parents if each.is_relative_to(root) and (each / RECORD).is_file()), None):
        raise Refusal(f"{inside} is an export, and replacing it would remove what is inside. Choose another name.")
    _sweep(target)
    _refuse_existing(target, overwrite)
    if target.exists() and not (target / RECORD).is_file():
        raise Refusal(f"{target} is not an export (it has no {RECORD}), so it is not replaced. Give another name.")
    return target


def refuse_full(target: Path, size: int) -> None:
    """Refuse to write what the disk has no room for; an export that is replaced goes only when the new one is there."""
    free = shutil.disk_usage(exports_directory()).free
    if size + _SPARE > free:
        raise Refusal(
            f"The export takes {format_bytes(size)}, and {format_bytes(free)} are free in {target.parent}. Make room, or set "
            "PRUNESCOPE_EXPORTS to a folder on a larger disk."
        )


@dataclass(frozen=True)
class Found:
    """An export that lies in the export folder, as its record tells of it."""

    folder: Path
    model: str
    plan: str
    form: str
    created: str
    difference: float
    bytes: int


def exports() -> list[Found]:
    """All exports in the export folder, the newest first; a folder whose record cannot be read is left out."""
    found = []
    for folder, below, files in os.walk(exports_directory()):
        below[:] = [name for name in below if not name.startswith(".")]  # being written, or left by a process that was killed
        if RECORD not in files:
            continue
        path = Path(folder) / RECORD
        with suppress(OSError, ValueError, KeyError, TypeError):
            record = json.loads(path.read_text(encoding="utf-8"))
            size = sum(each.stat().st_size for each in path.parent.iterdir() if each.is_file())
            found.append(Found(path.parent, str(record["model"]["name"]), str(record["plan"]), str(record["format"]),
                               str(record["created"]), float(record["checked"]["difference_in_nats"]), size))  # fmt: skip
    return sorted(found, key=lambda each: each.created, reverse=True)


@contextmanager
def whole(target: Path, overwrite: bool = False) -> Iterator[Path]:
    """A folder to write into, which becomes the target when the block ends well, and is gone when it does not."""
    target.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{target.name}-{os.getpid()}-"
    scratch = Path(tempfile.mkdtemp(dir=target.parent, prefix=prefix))
    try:
        yield scratch
        _refuse_existing(target, overwrite)  # somebody may have put something there meanwhile
        if target.exists():
            old = Path(tempfile.mkdtemp(dir=target.parent, prefix=prefix)) / "old"
            target.rename(old)
            try:
                scratch.rename(target)
            except OSError:
                old.rename(target)
                raise
            shutil.rmtree(old.parent)
        else:
            scratch.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)  # gone already when all went well


def _refuse_existing(target: Path, overwrite: bool) -> None:
    if target.exists() and not overwrite:
        raise Refusal(f"{target} exists. Choose another name, or allow replacing it (--overwrite in a shell).")


def _sweep(target: Path) -> None:
    """Remove what a process that was killed left half-written of this export, and bring back what it had moved aside."""
    if not target.parent.is_dir():
        return
    left = re.compile(rf"\.{re.escape(target.name)}-(\d+)-\w+")
    for path in target.parent.iterdir():
        found = left.fullmatch(path.name)
        # Another machine or container that writes into the same folder has numbers of its own, so age counts as well.
        if found and not psutil.pid_exists(int(found[1])) and time.time() - path.stat().st_mtime > _STALE:
            if (path / "old").is_dir() and not target.exists():  # it was killed between two renames
                (path / "old").rename(target)
            shutil.rmtree(path, ignore_errors=True)
