"""Files that a person names, read safely: regular files only, and never more of them than a limit."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

from refusal import Refusal

_KINDS = (
    (stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"),
)  # fmt: skip


def status_of(path: Path) -> os.stat_result | None:
    """What a path, or the file that it links to, is; None: there is nothing.

    Raises
    ------
    Refusal
        There is something else than a regular file: opening a pipe waits for ever, and a device may never end.
    """
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:  # too long, in a folder that may not be read, with a NUL in it
        raise unreadable(path, error) from error
    _refuse_odd(path, found)
    return found


def opened(path: Path) -> BinaryIO:
    """Open a regular file for reading.

    Raises
    ------
    Refusal
        There is none, it is no regular file, or it may not be read.
    """
    status_of(path)  # opening some devices does something, so look first
    try:
        # Should it have become a pipe since, opening it does not wait.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    file = os.fdopen(handle, "rb")
    try:
        _refuse_odd(path, os.fstat(file.fileno()))
    except Refusal:
        file.close()
        raise
    return file


def read_bytes(path: Path, most: int) -> bytes:
    """All of a file.

    Raises
    ------
    Refusal
        It cannot be read, or has more than ``most`` bytes.
    """
    with opened(path) as file:
        try:
            content = file.read(most + 1)
        except OSError as error:
            raise unreadable(path, error) from error
    if len(content) > most:
        raise too_large(path, most)
    return content


def too_large(path: Path, most: int) -> Refusal:
    """Why a file is not read: its size."""
    return Refusal(f"{_named(path)} is larger than {most / 1e6:,g} MB, the most that is read of such a file. Shorten it.")


def unreadable(path: Path, error: Exception) -> Refusal:
    """Why a file cannot be read, in words."""
    return Refusal(f"{_named(path)} cannot be read: {getattr(error, 'strerror', None) or 'no file can have this name'}.")


def not_utf8(path: Path, error: UnicodeDecodeError, where: str = "") -> Refusal:
    """Why a file is no text."""
    return Refusal(f"{_named(path)} is not UTF-8 text (byte {error.start}{where}). Save it as UTF-8.")


def printable(text: str, most: int = 200) -> str:
    """A name as a sentence may hold it: without control characters, and not longer than a line."""
    text = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text[: most + 1])
    return text if len(text) <= most else f"{text[:most]}…"


def _refuse_odd(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = next((name for test, name in _KINDS if test(found.st_mode)), "something else")
        raise Refusal(f"{_named(path)} cannot be read: it is {kind}, not a file. Name a regular file.")


def _named(path: Path) -> str:
    return printable(str(path))
