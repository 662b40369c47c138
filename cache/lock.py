"""One holder per key, among the threads of this process and the other processes that use the same folder.

A lock is free again when its process dies. Its file is removed by whoever holds it, so the folder is empty when nobody works.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

PATIENCE = 0.1  # seconds between two attempts
_log = logging.getLogger(__name__)


@contextmanager
def only_one(directory: Path, key: str, waiting: Callable[[], None]) -> Iterator[None]:
    """Be the only one who works on a key.

    Parameters
    ----------
    directory : Path
        Where the lock files are; created if missing.
    key : str
        Any text; no key can name a path.
    waiting : callable
        Called about ten times a second while somebody else holds the key. It may raise to give up.

    Notes
    -----
    Two may hold one key at the same time where no lock file can be made (a full disk, a folder that is read-only), and in
    the moment described in ``_remove``. Look into the store once you hold the key; at worst an answer is computed twice,
    and both times with the same bytes.
    """
    lock = FileLock(_path(directory, key))
    while (held := _taken(lock)) is None:
        waiting()
        time.sleep(PATIENCE)
    try:
        yield
    finally:
        if held:
            _remove(lock)


def held(directory: Path, key: str) -> bool:
    """Whether somebody, in this process or another, is at work on a key."""
    path = _path(directory, key)
    if not path.exists():
        return False
    try:
        lock = FileLock(path)
        lock.acquire(timeout=0)
        _remove(lock)
    except OSError:  # Timeout too
        return True
    return False


def hold(directory: Path, key: str) -> FileLock:
    """Hold a key that nobody else uses, until what is returned is let go of or the process ends.

    Where no lock file can be made, nothing is held.
    """
    lock = FileLock(_path(directory, key), thread_local=False)  # any thread may let go of it
    with suppress(OSError):  # Timeout too: somebody looks whether it is held, or sweeps, and is through in a moment
        Path(directory).mkdir(mode=0o700, parents=True, exist_ok=True)
        lock.acquire(timeout=1)
    return lock


def sweep(directory: Path) -> None:
    """Remove the lock files that processes left behind when they were killed; those in use stay."""
    for path in Path(directory).glob("*.lock"):
        with suppress(OSError):  # Timeout too, which is one: somebody holds it
            lock = FileLock(path)
            lock.acquire(timeout=0)
            _remove(lock)


def _path(directory: Path, key: str) -> Path:
    return Path(directory) / f"{hashlib.sha256(key.encode()).hexdigest()}.lock"


def _taken(lock: FileLock) -> bool | None:
    """Try once to take a lock: True if it is ours, None while another has it, False where there can be none."""
    path = Path(lock.lock_file)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except (Timeout, FileNotFoundError):  # not found: removed by its holder while we opened it
            return None
    except OSError as error:
        # a model must load on a full disk too; only computing the same answer twice is no longer prevented
        _log.warning("%s cannot be made (%s): another process may compute the same answer.", path, error)
        return False
    return True


def _remove(lock: FileLock) -> None:
    """Unlink the file of a lock while it is still held, then release it."""
    # Why in this order: once released, the file may be another's, and we would unlink the lock that he holds. Before the
    # release, somebody may have opened the file and be about to lock it. Then he gets an inode that has no name, while
    # the next one makes a new file. That is safe enough: filelock sees that no link is left and tries again, and an
    # older filelock that does not see it lets in somebody who looks into the store first and finds our answer. Only if
    # ours failed can an answer be computed twice, with equal bytes.
    try:
        with suppress(OSError):  # Windows removes no open file: it stays, and sweep meets the same refusal
            Path(lock.lock_file).unlink()
    finally:
        lock.release()
