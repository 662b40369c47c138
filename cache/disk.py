"""What the store's database may hold, and what to say when the disk beneath it fails."""

import errno
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import diskcache
from diskcache.core import MODE_RAW

LONGEST = 10_000_000  # bytes of a description: many times what PruneScope writes, and read for every row of a list
# Rows as ``Store.put`` writes them; anything else was planted, and is neither listed nor described.
OURS = (
    f"raw = 1 AND mode = {MODE_RAW} AND typeof(key) = 'text' AND typeof(tag) = 'text' AND typeof(value) = 'blob' "
    f"AND length(tag) <= {LONGEST} "
    "AND typeof(store_time) IN ('real', 'null') AND typeof(access_count) IN ('integer', 'null')"
)

FOREIGN = f"NOT coalesce(({OURS}), 0)"


class StoreError(RuntimeError):
    """The store cannot do what was asked. The message is for the person: what is wrong and what to do."""


class Damaged(StoreError):
    """What is said about an answer of ours cannot be read any more; the answer can be forgotten and asked for again."""


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
        """Do nothing: our values are never files, so a file named in a row was planted and is not ours to delete."""


def described(tag: bytes | None) -> dict | None:
    """Read what is said about an answer from the bytes of its ``tag``; None if that is not a JSON object."""
    try:
        about = json.loads(tag or b"")
    except (ValueError, RecursionError):  # ValueError: no JSON, no UTF-8, or a number of thousands of digits
        return None
    return about if isinstance(about, dict) else None


def why(error: BaseException | None) -> str:
    """Say why, and what to do, from the first thing that went wrong: diskcache says Timeout whatever the reason was."""
    chain = []
    while error is not None:
        chain.append(error)
        error = error.__context__
    for error in reversed(chain):
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the upper bits say only where it happened
        if code == sqlite3.SQLITE_FULL or getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            return "the disk is full. Free some space or forget stored answers, then ask again."
        if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            return "its database cache.db is damaged. Delete the folder; answers will be computed again."
        if code == sqlite3.SQLITE_READONLY or isinstance(error, PermissionError):
            return "the folder is not writable. Make it writable for this user or choose another one."
        if code == sqlite3.SQLITE_BUSY:
            return "another process kept it locked for a minute. Ask again."
    return f"{chain[-1]}. Look at the disk's free space and permissions."


@contextmanager
def in_words(what: str) -> Iterator[None]:
    """Turn what SQLite and the file system say into a sentence that begins with ``what``."""
    try:
        yield
    except (sqlite3.Error, diskcache.Timeout, OSError) as error:
        raise StoreError(f"{what}: {why(error)}") from error
