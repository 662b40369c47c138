"""Where own tasks lie, and what is in there."""

import hashlib
import os
from functools import lru_cache
from itertools import islice
from pathlib import Path

from refusal import Refusal
from settings import settings
from texts.files import printable

_MOST = 2000  # files


def tasks_folder(name: str) -> Path | None:
    """The folder of own tasks: the named one, else the operator's; None: there is none.

    Raises
    ------
    Refusal
        The named one is no folder.
    """
    folder = Path(os.path.expanduser(name)) if name else settings().tasks  # Path's own would raise without such a home
    if folder is None:
        return None
    if not os.path.isdir(folder):  # Path's own raises where a name is too long
        raise Refusal(
            f"There is no folder of tasks at {printable(str(folder))}. Name one that holds the YAML files of "
            "lm-evaluation-harness."
        )
    return folder.resolve()


def folder_digest(name: str) -> str:
    """sha256 of the names and contents of all its files, so that an answer belongs to them; empty: there is no folder.

    Raises
    ------
    Refusal
        There are too many files for a folder of tasks, or one cannot be read.
    """
    folder = tasks_folder(name)
    if folder is None:
        return ""
    try:
        found = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        files = sorted(islice(found, _MOST + 1))
        if len(files) > _MOST:
            raise Refusal(
                f"{folder} holds more than {_MOST:,} files, too many for a folder of tasks. Name the one with the YAML."
            )
        stamps = tuple((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files)
        return _digest(str(folder), stamps)
    except OSError as error:
        raise Refusal(f"{error.filename} cannot be read: {error.strerror}.") from error


@lru_cache(maxsize=16)  # a page asks several times per redraw
def _digest(folder: str, stamps: tuple[tuple[str, int, int], ...]) -> str:
    found = hashlib.sha256()
    for name, size, _ in stamps:
        found.update(f"{Path(name).relative_to(folder)} {size} ".encode() + Path(name).read_bytes())
    return found.hexdigest()
