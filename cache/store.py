"""Answers on disk: one SQLite row per answer, holding its bytes and what is said about it.

Both are in the same row of the same transaction, so a killed process or a full disk leaves either the whole answer or
none; there are no files beside the database that could be orphaned. Reading never writes anything it needs: it works on
a full disk. When the limit is reached, the least recently used answers make room, and the log names each of them.
Put the folder on a local disk: SQLite on a network file system locks up or corrupts.
"""

import errno
import json
import logging
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import diskcache
from diskcache.core import MODE_RAW

GiB = 2**30
# A row of SQLite holds 1e9 bytes; the rest is left for the key and what is said about the answer.
LARGEST = 900_000_000
# Rows as ``put`` writes them; anything else was planted, and is neither listed nor described.
_OURS = f"raw = 1 AND mode = {MODE_RAW} AND typeof(key) = 'text' AND typeof(tag) = 'text'"
_log = logging.getLogger(__name__)


class StoreError(RuntimeError):
    """The store cannot do what was asked. The message is for the person: what is wrong and what to do."""


@dataclass(frozen=True)
class Entry:
    """One stored answer, without its bytes."""

    key: str
    about: dict  # as given to ``put``
    bytes: int
    created: float  # unix seconds
    hits: int  # times read since it was put


class PlainDisk(diskcache.Disk):
    """Text keys and bytes values only. diskcache would unpickle a planted row, and so run it (CVE-2025-69872)."""

    def put(self, key: str) -> tuple[str, bool]:
        if type(key) is not str:
            raise StoreError(f"Keys of the store are str, not {type(key).__name__}.")
        return key, True

    def get(self, key: object, raw: bool) -> str:
        if not raw or type(key) is not str:
            raise StoreError("The store holds a key that PruneScope did not write; it was not opened. Forget all.")
        return key

    def store(self, value: bytes, read: bool, key: object = None) -> tuple[int, int, None, sqlite3.Binary]:
        if read or type(value) is not bytes:
            raise StoreError(f"Values of the store are bytes, not {type(value).__name__}.")
        return 0, MODE_RAW, None, sqlite3.Binary(value)  # always in the row, however large

    def fetch(self, mode: int, filename: str | None, value: object, read: bool) -> bytes:
        if mode != MODE_RAW or type(value) is not bytes:
            raise StoreError("This answer was not written by PruneScope and was not opened. Forget it, then ask again.")
        return value

    def remove(self, file_path: str) -> None:
        """Nothing: our values are never files, so a file named in a row was planted and is not ours to delete."""


class Store:
    """Answers by key, in one folder that only its owner can enter (0700).

    Several threads and processes may use one folder at once.

    Parameters
    ----------
    directory : Path
        Created if missing.
    limit : int
        Bytes of answers to keep. Above it the least recently used are forgotten, never the one just put.

    Raises
    ------
    StoreError
        From every method, when the folder or the database cannot be used; the message says why.
    """

    def __init__(self, directory: Path, limit: int = 10 * GiB) -> None:
        self.directory, self.limit = Path(directory), limit
        with self._in_words("opened"):
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if stat.S_IMODE(self.directory.stat().st_mode) != 0o700:
                self.directory.chmod(0o700)
            self._rows = diskcache.Cache(
                str(self.directory),
                disk=PlainDisk,
                # diskcache would forget ten answers at once, the new one among them, and say nothing: ``put`` chooses
                eviction_policy="none",
                sqlite_mmap_size=0,  # a read error in a mapped file is a signal that kills the process
                sqlite_journal_size_limit=64 * 2**20,
            )

    def get(self, key: str) -> bytes | None:
        """Read an answer and count the hit; None if it is not known."""
        with self._in_words("read"):
            payload = self._rows.get(key)
        if payload is not None:
            # On a full or read-only disk the answer still counts more than its count.
            with suppress(sqlite3.OperationalError):
                self._sql(
                    f"UPDATE Cache SET access_count = access_count + 1, access_time = ? WHERE key = ? AND {_OURS}",
                    time.time(),
                    key,
                )
        return payload

    def put(self, key: str, payload: bytes, about: dict) -> None:
        """Keep an answer and what is said about it (JSON values), replacing an older one; all of it or nothing."""
        largest = min(self.limit, LARGEST)
        if len(payload) > largest:
            raise StoreError(
                f"This answer has {len(payload):,} bytes and the store takes at most {largest:,} at once: "
                "ask for less (fewer windows, fewer layers) or raise the limit of the store."
            )
        text = json.dumps(about)
        with self._in_words("written"), self._rows.transact():
            forgotten = self._make_room(key, len(payload))
            self._rows.set(key, payload, tag=text)
            # diskcache says True also for what it did not keep; looked at before the commit, nothing is lost yet
            kept = self._sql(f"SELECT length(value), tag FROM Cache WHERE key = ? AND {_OURS}", key)
            if kept != [(len(payload), text)]:
                raise StoreError(f"The store in {self.directory} did not keep the answer it was given; ask again.")
        for other, size in forgotten:
            _log.warning("Store full (%d bytes): forgot %s (%d bytes), the longest unused.", self.limit, other, size)

    def about(self, key: str) -> dict | None:
        """Say what was said about an answer; None if it is not known. Counts no hit, reads no bytes of the answer."""
        with self._in_words("read"):
            rows = self._sql(f"SELECT tag FROM Cache WHERE key = ? AND {_OURS}", key)
            return json.loads(rows[0][0]) if rows else None

    def entries(self) -> list[Entry]:
        """List the answers, newest first, without reading their bytes."""
        with self._in_words("read"):
            rows = self._sql(
                f"SELECT key, tag, length(value), store_time, access_count FROM Cache WHERE {_OURS} "
                "ORDER BY store_time DESC, rowid DESC"
            )
            return [Entry(key, json.loads(tag), size, created, hits) for key, tag, size, created, hits in rows]

    def delete(self, key: str) -> bool:
        """Forget one answer; False if it was not known."""
        with self._in_words("changed"):
            return self._rows.delete(key)

    def delete_all(self) -> None:
        """Forget every answer and give the space back to the disk."""
        with self._in_words("changed"):
            self._rows.clear()
            self._sql("PRAGMA wal_checkpoint(TRUNCATE)")

    @property
    def size(self) -> int:
        """Bytes of all answers. The file is a few percent larger."""
        with self._in_words("read"):
            return self._sql("SELECT coalesce(sum(length(value)), 0) FROM Cache")[0][0]

    def close(self) -> None:
        """Close this thread's connection; it opens again when needed."""
        self._rows.close()

    def _make_room(self, key: str, wanted: int) -> list[tuple[str, int]]:
        """Forget the least recently used answers until ``wanted`` more bytes fit, inside the writing transaction."""
        others = self._sql("SELECT rowid, key, length(value) FROM Cache WHERE key != ? ORDER BY access_time", key)
        over = sum(size for _, _, size in others) + wanted - self.limit
        forgotten = []
        for row, other, size in others:
            if over <= 0:
                break
            self._sql("DELETE FROM Cache WHERE rowid = ?", row)
            forgotten.append((other, size))
            over -= size
        return forgotten

    def _sql(self, statement: str, *values: object) -> list[tuple]:
        # diskcache has no public way to read a row without its value; its table is fixed since version 5
        return self._rows._sql(statement, values).fetchall()

    @contextmanager
    def _in_words(self, done: str) -> Iterator[None]:
        """Turn what SQLite and the file system say into a sentence."""
        try:
            yield
        except (sqlite3.Error, diskcache.Timeout, OSError, json.JSONDecodeError) as error:
            raise StoreError(f"The store in {self.directory} could not be {done}: {_reason(error)}") from error


def _reason(error: BaseException | None) -> str:
    """Say why, and what to do, from the first thing that went wrong: diskcache says Timeout whatever the reason was."""
    chain = []
    while error is not None:
        chain.append(error)
        error = error.__context__
    for error in reversed(chain):
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the upper bits say only where it happened
        if code == sqlite3.SQLITE_FULL or getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            return "the disk is full. Free some space or forget stored answers, then ask again."
        if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT) or isinstance(error, json.JSONDecodeError):
            return "its database cache.db is damaged. Delete the folder; answers will be computed again."
        if code == sqlite3.SQLITE_READONLY or isinstance(error, PermissionError):
            return "the folder is not writable. Make it writable for this user or choose another one."
        if code == sqlite3.SQLITE_BUSY:
            return "another process kept it locked for a minute. Ask again."
    return f"{chain[-1]}. Look at the disk's free space and permissions."
