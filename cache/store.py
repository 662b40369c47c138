"""Answers on disk: one SQLite row per answer, holding its bytes and what is said about it.

Both are in the same row of the same transaction, so a killed process or a full disk leaves either the whole answer or
none; there are no files beside the database that could be orphaned. Reading never writes anything it needs: it works on
a full disk. When the limit is reached, the least recently used answers make room, and the log names each of them.
A long computation stores its pieces as rows of their own, named ``<key>/<piece>``.
Put the folder on a local disk: SQLite on a network file system locks up or corrupts.
"""

import json
import logging
import sqlite3
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path

import diskcache

from cache.database import Database
from cache.disk import FOREIGN, OURS, Damaged, StoreError, described, in_words
from cache.looks import Looks

__all__ = ["LARGEST", "Damaged", "Entry", "GiB", "Store", "StoreError", "Stored"]

GiB = 2**30
# A row of SQLite holds 1e9 bytes; the rest is left for the key and what is said about the answer.
LARGEST = 900_000_000
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stored:
    """One stored answer with its bytes."""

    payload: bytes
    about: dict  # as given to ``put``


@dataclass(frozen=True)
class Entry:
    """One stored answer, without its bytes."""

    key: str
    about: dict  # as given to ``put``; empty if the row is damaged
    bytes: int
    created: float  # unix seconds
    hits: int  # times read since it was put, at most one a minute from each process


class Store:
    """Answers by key, in one folder that only its owner can enter (0700).

    Several threads and processes may use one folder at once.

    Parameters
    ----------
    directory : Path
        Created if missing.
    limit : int
        Bytes of answers to keep. Above it the least recently used are forgotten, never the one just put.
    clock : callable
        Unix seconds; tests give their own.
    fits : callable
        Whether what is said about an answer has the shape its readers rely on; where not, the row counts as damaged.

    Raises
    ------
    StoreError
        From every method, when the folder or the database cannot be used; the message says why.
    """

    def __init__(
        self,
        directory: Path,
        limit: int = 10 * GiB,
        clock: Callable[[], float] = time.time,
        fits: Callable[[dict], bool] = lambda about: True,
    ) -> None:
        self.directory, self.limit, self._clock, self._fits = Path(directory), limit, clock, fits
        self.looks = Looks(clock)
        self._database = Database(self.directory)
        with self._in_words("opened"):
            self._database.rows()

    @property
    def _rows(self) -> diskcache.Cache:
        return self._database.rows()

    def read(self, key: str, hit: bool = True) -> Stored | None:
        """Read an answer and what is said about it; None if it is not known.

        Parameters
        ----------
        key : str
        hit : bool
            Whether this counts as a use of the answer. What is used is kept longest.

        Raises
        ------
        StoreError
            Also when the row was not written by ``put``: nothing in it is opened.
        """
        key, _ = self._rows.disk.put(key)
        with self._in_words("read"):
            # one statement reads both: an answer forgotten between two would have no description
            rows = self._sql(f"SELECT {OURS}, CAST(tag AS BLOB), value FROM Cache WHERE key = ? AND raw = 1", key)
        if not rows:
            if hit:
                self.looks.counted(key, found=False)
            return None
        [(ours, tag, payload)] = rows
        about = self._described(tag) if ours else None
        if about is None:
            kind = Damaged if ours else StoreError
            raise kind(f"The answer {key} was not written by PruneScope and was not opened. Forget it, then ask again.")
        if hit:
            self._note(key)
        return Stored(payload, about)

    def put(self, key: str, payload: bytes, about: dict) -> None:
        """Keep an answer and what is said about it (JSON values), replacing an older one; all of it or nothing."""
        largest = min(self.limit, LARGEST)
        if len(payload) > largest:
            raise StoreError(
                f"This answer has {len(payload):,} bytes and the store takes at most {largest:,} at once: "
                "ask for less (fewer windows, fewer layers) or raise the limit of the store."
            )
        if not isinstance(about, dict):
            raise StoreError(f"What is said about an answer is a dict, not {type(about).__name__}.")
        text = json.dumps(about)
        with self._in_words("written"), self._rows.transact():
            forgotten = self._make_room(key, len(payload))
            self._rows.set(key, payload, tag=text)
            # diskcache says True also for what it did not keep; looked at before the commit, nothing is lost yet
            kept = self._sql(f"SELECT length(value), tag FROM Cache WHERE key = ? AND {OURS}", key)
            if kept != [(len(payload), text)]:
                raise StoreError(f"The store in {self.directory} did not keep the answer it was given; ask again.")
        for other, size in forgotten:
            _log.warning("Store full (%d bytes): forgot %s (%d bytes), the longest unused.", self.limit, other, size)

    def about(self, key: str) -> dict | None:
        """Say what was said about an answer; None if it is not known. Counts no hit, reads no bytes of the answer."""
        with self._in_words("read"):
            rows = self._sql(f"SELECT CAST(tag AS BLOB) FROM Cache WHERE key = ? AND {OURS}", key)
        return self._described(rows[0][0]) if rows else None

    def has(self, key: str) -> bool:
        """Tell whether an answer is known. A damaged row is not one: asked again, it is computed again and replaced."""
        return self.about(key) is not None

    def keys(self, prefix: str) -> list[str]:
        """List the keys that begin with ``prefix``, in the order of their characters."""
        with self._in_words("read"):
            # a range, unlike LIKE, finds its rows in the index; U+10FFFF is the last character, and no text uses it
            between = f"key >= ? AND key < ? AND {OURS} ORDER BY key"
            return [key for (key,) in self._sql(f"SELECT key FROM Cache WHERE {between}", prefix, prefix + "\U0010ffff")]

    def entries(self, where: Callable[[dict], bool] | None = None) -> list[Entry]:
        """List the answers, newest first, without reading their bytes: all, or those whose ``about`` is as asked."""
        with self._in_words("read"):
            rows = self._sql(
                "SELECT key, CAST(tag AS BLOB), length(value), coalesce(store_time, 0.0), coalesce(access_count, 0) "
                f"FROM Cache WHERE {OURS} ORDER BY store_time DESC, rowid DESC"
            )
        # a damaged row is listed too, so that somebody can forget it
        entries = (Entry(key, self._described(tag) or {}, *numbers) for key, tag, *numbers in rows)
        return [entry for entry in entries if where is None or where(entry.about)]

    def delete(self, key: str) -> bool:
        """Forget one answer and its pieces ``<key>/...``, all at once; False if nothing was known of it."""
        with self._in_words("changed"), self._rows.transact():
            # "0" is the character after "/"
            self._sql("DELETE FROM Cache WHERE key = ? OR (key > ? AND key < ?)", key, f"{key}/", f"{key}0")
            return self._sql("SELECT changes()")[0][0] > 0

    def foreign(self) -> int:
        """How many rows were not written by PruneScope: they are not listed, and nothing in them is opened."""
        with self._in_words("read"):
            return self._sql(f"SELECT count(*) FROM Cache WHERE {FOREIGN}")[0][0]

    def delete_foreign(self) -> None:
        """Forget the rows that were not written by PruneScope."""
        with self._in_words("changed"), self._rows.transact():
            self._sql(f"DELETE FROM Cache WHERE {FOREIGN}")

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

    def _described(self, tag: bytes | None) -> dict | None:
        about = described(tag)
        return about if about is not None and self._fits(about) else None

    def _note(self, key: str) -> None:
        """Count a hit, at most one a minute: a page that redraws twice a second must not decide what is forgotten."""
        if not self.looks.counted(key, found=True):
            return
        # on a full or read-only disk, and while somebody writes, the answer still counts more than its count
        with suppress(sqlite3.Error):
            (patience,) = self._sql("PRAGMA busy_timeout")[0]
            self._sql("PRAGMA busy_timeout = 0")
            try:
                count = "access_count = access_count + 1, access_time = ?"
                self._sql(f"UPDATE Cache SET {count} WHERE key = ? AND {OURS}", self._clock(), key)
            finally:
                self._sql(f"PRAGMA busy_timeout = {patience}")

    def _make_room(self, key: str, wanted: int) -> list[tuple[str, int]]:
        """Forget the least recently used answers until ``wanted`` more bytes fit, inside the writing transaction."""
        others = self._sql("SELECT rowid, key, coalesce(length(value), 0) FROM Cache WHERE key != ? ORDER BY access_time", key)
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

    def _in_words(self, done: str) -> AbstractContextManager[None]:
        return in_words(f"The store in {self.directory} could not be {done}")
