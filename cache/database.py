"""The store's database: one file in a folder that only its owner can enter, and room to open it on a full disk."""

import os
import sqlite3
import stat
import threading
from contextlib import suppress
from pathlib import Path

import diskcache

from cache.disk import PlainDisk

# SQLite writes an index beside its file before it reads the first row, and diskcache its settings: half of this at most.
RESERVE = 2**20


class Database:
    """Opens the file, and again where somebody has deleted it: an open file without a name takes rows that nobody finds again.

    Parameters
    ----------
    directory : Path
        Created if missing, and after it was deleted.
    """

    def __init__(self, directory: Path) -> None:
        self._directory, self._opening = directory, threading.Lock()  # guards the next one
        self._opened: tuple[tuple[int, int] | None, diskcache.Cache] | None = None

    def rows(self) -> diskcache.Cache:
        """The rows; errors are those of SQLite and of the file system."""
        with self._opening:
            if self._opened is None or self._opened[0] != self._place():
                self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                if stat.S_IMODE(self._directory.stat().st_mode) != 0o700:
                    self._directory.chmod(0o700)
                rows = self._with_room()
                self._opened = self._place(), rows
            return self._opened[1]

    def _with_room(self) -> diskcache.Cache:
        """Open it; on a full disk, give up what was kept for this, so that known answers are found."""
        reserve = self._directory.with_name(f"{self._directory.name}.reserve")
        try:
            rows = _open(self._directory)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR) or not reserve.exists():
                raise
            reserve.unlink(missing_ok=True)
            return _open(self._directory)
        with suppress(OSError):  # there is no room, or a colleague's process was first
            _reserve(reserve)
        return rows

    def _place(self) -> tuple[int, int] | None:
        """Which file it is; None: it is gone."""
        try:
            found = (self._directory / "cache.db").stat()
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino


def _reserve(path: Path) -> None:
    """Take room that can be given up; random, because some file systems keep no room for zeros."""
    with path.open("xb", buffering=0) as file:
        try:
            file.write(os.urandom(RESERVE))
        except OSError:
            path.unlink()
            raise


def _open(directory: Path) -> diskcache.Cache:
    return diskcache.Cache(
        str(directory),
        disk=PlainDisk,
        # diskcache would forget ten answers at once, the new one among them, and say nothing: ``Store.put`` chooses
        eviction_policy="none",
        sqlite_mmap_size=0,  # a read error in a mapped file is a signal that kills the process
        sqlite_journal_size_limit=64 * 2**20,
    )
