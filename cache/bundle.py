"""Answers in one file, to be taken to another machine: a zip archive with one member per answer and ``bundle.json``.

``bundle.json`` holds ``version``, ``told`` (what the bundle is about) and ``rows``, a list of ``key``, ``about``, ``bytes``
and ``sha256``. The bytes of row n are the member ``n``. Nothing is compressed, and nothing in a bundle can run.
A bundle comes from somebody else: before the first answer is stored, all of them are checked.
"""

import hashlib
import json
import logging
import os
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import BinaryIO

from cache.codec import DAMAGE, CodecError, decode
from cache.store import LARGEST, Store

VERSION = 1
_MANIFEST = "bundle.json"
_LONGEST = 64 * 2**20  # bytes of bundle.json, which is read as a whole; more than 30,000 answers
_FIELDS = {"key": str, "about": dict, "bytes": int, "sha256": str}
_log = logging.getLogger(__name__)


class BundleError(ValueError):
    """A file that is no bundle, or one that cannot be written. The message is for the person."""


@dataclass(frozen=True)
class Unpacked:
    """What came out of a bundle."""

    added: int  # answers that the store did not have
    known: int  # answers that it had, and kept as they were
    told: dict  # as given to ``pack``


def pack(store: Store, keys: Iterable[str], file: Path, told: dict) -> int:
    """Write answers into one file, one after the other: in memory is one at a time.

    Parameters
    ----------
    store : Store
    keys : iterable of str
        Those the store does not have are left out, and so are those that :func:`unpack` would refuse; the log names them.
    file : Path
        Appears when it is whole, and only then replaces an older one. A process that is killed leaves
        ``.<name>.<random>.part`` beside it.
    told : dict
        What to say about the bundle (JSON values).

    Returns
    -------
    int
        How many answers were written.

    Raises
    ------
    BundleError
        The file cannot be written.
    StoreError
        The store cannot be read, or holds a row under one of these keys that it did not write.
    """
    file = Path(file)
    try:
        with _whole(file) as part, zipfile.ZipFile(part, "w") as archive:
            rows = list(_written(archive, store, dict.fromkeys(keys)))
            manifest = json.dumps({"version": VERSION, "told": told, "rows": rows}).encode()
            if len(manifest) > _LONGEST:
                raise BundleError(f"{len(rows):,} answers are too many for one bundle: choose fewer.")
            archive.writestr(zipfile.ZipInfo(_MANIFEST), manifest)
    except OSError as error:
        reason = error.strerror or error
        raise BundleError(f"{file} could not be written: {reason}. Free some space or choose another folder.") from error
    return len(rows)


def unpack(store: Store, file: Path | BinaryIO) -> Unpacked:
    """Put those answers of a bundle into a store that it does not have.

    Parameters
    ----------
    store : Store
    file : Path or binary file
        A file must be seekable; it stays open.

    Raises
    ------
    BundleError
        The file is no bundle, is damaged, is from a newer PruneScope or does not fit; nothing was put into the store.
    StoreError
        The store cannot be written; the answers put before that are whole and stay.
    """
    with ExitStack() as stack:
        with _in_words():
            if isinstance(file, Path) and file.exists() and not file.is_file():
                raise BundleError(f"{file} is not a regular file. Choose a bundle that PruneScope has packed.")
            archive = stack.enter_context(zipfile.ZipFile(file))
            told, rows = _manifest(archive, store.limit)
            for number, row in enumerate(rows):
                decode(_payload(archive, number, row))
        added = 0
        for number, row in enumerate(rows):
            if not store.has(row["key"]):
                with _in_words():
                    payload = _payload(archive, number, row)
                store.put(row["key"], payload, row["about"])
                added += 1
    return Unpacked(added, len(rows) - added, told)


def read(file: Path) -> list[tuple[dict, bytes]]:
    """What a bundle says about each of its answers, and their bytes; nothing is stored.

    Raises
    ------
    BundleError
        The file is no bundle, is damaged, or is from a newer PruneScope.
    """
    with _in_words(), zipfile.ZipFile(file) as archive:
        _, rows = _manifest(archive, LARGEST)
        return [(row["about"], _payload(archive, number, row)) for number, row in enumerate(rows)]


@contextmanager
def _whole(file: Path) -> Iterator[BinaryIO]:
    """Write to a temporary name beside ``file``; it gets its own name at the end, or is removed."""
    with NamedTemporaryFile(dir=file.parent, prefix=f".{file.name}.", suffix=".part", delete=False) as part:
        try:
            yield part
            part.flush()
            os.fsync(part.fileno())  # or a power cut could leave the new name with none of its bytes
            part.close()  # Windows renames no open file
            os.replace(part.name, file)
        except BaseException:
            part.close()
            Path(part.name).unlink(missing_ok=True)
            raise


def _written(archive: zipfile.ZipFile, store: Store, keys: Iterable[str]) -> Iterator[dict]:
    """Write the members of these answers, and yield their rows of ``bundle.json``."""
    number = 0
    for key in keys:
        stored = store.read(key, hit=False)  # taking a copy along is no use of an answer
        if stored is None:
            continue
        try:
            _check_key(key)
            decode(stored.payload)
        except (BundleError, CodecError) as error:
            _log.warning("Left %r out of the bundle: %s", key, error)
            continue
        archive.writestr(zipfile.ZipInfo(str(number)), stored.payload)  # ZipInfo has a fixed date: no trace of when
        digest = hashlib.sha256(stored.payload).hexdigest()
        yield {"key": key, "about": stored.about, "bytes": len(stored.payload), "sha256": digest}
        number += 1


def _manifest(archive: zipfile.ZipFile, limit: int) -> tuple[dict, list[dict]]:
    """Read ``bundle.json`` and check all that can be known without reading the answers."""
    members = {member.filename: member for member in archive.infolist()}
    if _MANIFEST not in members:
        raise BundleError(f"This zip archive is not a PruneScope bundle: {_MANIFEST} is missing.")
    _check_stored(members[_MANIFEST])
    if members[_MANIFEST].file_size > _LONGEST:
        raise BundleError(f"{_MANIFEST} of this bundle has more than {_LONGEST:,} bytes. Pack fewer answers.")
    manifest = json.loads(archive.read(_MANIFEST))
    version = manifest.get("version") if isinstance(manifest, dict) else None
    if type(version) is int and version > VERSION:
        raise BundleError(f"This bundle is from a newer PruneScope (format {version}, here {VERSION}): update PruneScope.")
    if type(version) is not int or version != VERSION or set(manifest) != {"version", "told", "rows"}:
        raise BundleError(f"{_MANIFEST} was not written by PruneScope. Pack the bundle again.")
    told, rows = manifest["told"], manifest["rows"]
    if not isinstance(told, dict) or not isinstance(rows, list):
        raise BundleError(f"{_MANIFEST} is damaged: told must be an object and rows a list. Pack the bundle again.")
    for number, row in enumerate(rows):
        _check_row(number, row, members.get(str(number)))
    if len(archive.infolist()) != len(rows) + 1 or len({row["key"] for row in rows}) != len(rows):
        raise BundleError("This bundle names an answer twice or holds members that belong to none. Pack it again.")
    _check_size(sum(row["bytes"] for row in rows), archive, limit)
    return told, rows


def _check_stored(member: zipfile.ZipInfo) -> None:
    """Refuse a member that would grow when it is read: it is damaged, or a bomb."""
    if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
        raise BundleError("This bundle holds compressed members, which PruneScope never writes. Pack it again.")


def _check_size(total: int, archive: zipfile.ZipFile, limit: int) -> None:
    """Refuse more bytes than the file has (its members overlap) or the store takes."""
    archive.fp.seek(0, os.SEEK_END)
    if total > archive.fp.tell():
        raise BundleError("This bundle declares more bytes than it has. Get it again.")
    if total > limit:
        raise BundleError(f"This bundle holds {total:,} bytes and the store takes {limit:,}: raise the limit of the store.")


def _check_row(number: int, row: object, member: zipfile.ZipInfo | None) -> None:
    """Refuse a row of ``bundle.json`` whose types are wrong, or that does not fit its member."""
    if not isinstance(row, dict) or {name: type(value) for name, value in row.items()} != _FIELDS:
        raise BundleError(f"Row {number} of {_MANIFEST} is damaged: it needs {', '.join(_FIELDS)}. Pack the bundle again.")
    _check_key(row["key"])
    if member is None or member.file_size != row["bytes"]:
        raise BundleError(f"Answer {number} of this bundle is missing or does not have {row['bytes']:,} bytes. Get it again.")
    _check_stored(member)
    if row["bytes"] > LARGEST:
        raise BundleError(f"Answer {number} of this bundle has {row['bytes']:,} bytes; the store takes {LARGEST:,} at once.")


def _check_key(key: str) -> None:
    if not (0 < len(key) <= 200 and key.isprintable()):
        raise BundleError(f"A key in a bundle is a text of 1 to 200 printable characters, not {key[:200]!r}.")


def _payload(archive: zipfile.ZipFile, number: int, row: dict) -> bytes:
    """Read one member; its checksum, its length and its digest must be as declared."""
    payload = archive.read(str(number))
    if len(payload) != row["bytes"] or hashlib.sha256(payload).hexdigest() != row["sha256"]:
        raise BundleError(f"Answer {number} of this bundle is damaged: its sha256 does not match. Get the bundle again.")
    return payload


@contextmanager
def _in_words() -> Iterator[None]:
    """Turn what zipfile, json and the codec raise on damaged input into a sentence."""
    try:
        yield
    except BundleError:
        raise
    except FileNotFoundError as error:
        raise BundleError(f"There is no file {error.filename}. Choose a bundle that PruneScope has packed.") from error
    except DAMAGE as error:
        raise BundleError(f"This file is damaged, or is not a PruneScope bundle ({error}). Get it again.") from error
