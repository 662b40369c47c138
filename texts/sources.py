"""Where a text comes from: the bundled one, Python's manual, the hub, a file, or one that was kept."""

import hashlib
import io
import json
import os
import secrets
from functools import lru_cache
from itertools import count
from pathlib import Path

from refusal import Refusal
from settings import refuse_text, subfolder, write_atomically
from texts.files import not_utf8, opened, printable, unreadable
from texts.hub import HUB_TEXTS, hub_text

BUNDLED = "prose"
NAMES = (BUNDLED, "python-docs", *HUB_TEXTS)  # what can be chosen by name; a path can be written instead
OWN, _LABEL = "text:", "own text "  # how the names of kept texts and their labels begin
_REFERENCE = 32  # hexadecimal digits of such a name, drawn at random: it opens the text, so nobody may guess it
_LONGEST = 8_000_000  # characters read of a text: some 2 million tokens, more than any calibration uses
_LINE, _LARGEST = 64 * 10**6, 512 * 10**6  # bytes of a line of JSON, and of all lines that are read
_lent: dict[str, str] = {}  # texts that other machines keep, by reference
_MOST_LENT = 8
_PROSE = Path(__file__).with_name("prose.txt")


def read_text(name: str) -> str:
    """The text of that name, or the first 8 million characters of it.

    Parameters
    ----------
    name : str
        One of `NAMES`, the path of a .txt or .jsonl file, or what `keep_text` returned.

    Raises
    ------
    Refusal
        There is no such text, it cannot be read, or it is empty.
    """
    _refuse(name)
    text = _text(name)[:_LONGEST]
    if not text.strip():
        raise Refusal("The text is empty. Paste some prose, a few hundred words or more.")
    return text


def is_own(name: str) -> bool:
    """Whether a name, or the label of one, is that of a text which somebody pasted or uploaded."""
    return name.startswith((OWN, _LABEL))


def label(name: str) -> str:
    """The name of a text as everybody may see it: that of a kept text would open it, so it goes by the start of its digest."""
    return f"{_LABEL}{digest_of(name)[:6]}" if name.startswith(OWN) else name


def text_digest(name: str) -> str:
    """sha256 of a text, from memory where this process has seen the text unchanged.

    A file is recognised by its size and the time it was last changed. Every other text has one content per name.

    Raises
    ------
    Refusal
        As `read_text`.
    """
    _refuse(name)
    return _remembered(name, _stamp(name), str(subfolder("texts")))


def keep_text(text: str) -> str:
    """Keep a text in the data directory.

    Returns
    -------
    str
        Its name, ``text:`` and random digits: whoever has it can open the text.
    """
    if not text.strip():
        raise Refusal("The text is empty. Paste some prose, a few hundred words or more.")
    reference = secrets.token_hex(_REFERENCE // 2)
    try:
        write_atomically(subfolder("texts") / f"{reference}.txt", text)
    except OSError as error:
        raise Refusal(f"The text could not be kept: {error.strerror}. Is there room in the data directory?") from error
    return f"{OWN}{reference}"


def lent_text(name: str, text: str) -> None:
    """Take a text that is kept on another machine: it is known by its name to this process, and written nowhere."""
    _lent[name.removeprefix(OWN)] = text
    while len(_lent) > _MOST_LENT:
        del _lent[next(iter(_lent))]


def forget_texts() -> int:
    """Remove all kept texts from the disk; returns how many there were. What was measured on them is not touched.

    Raises
    ------
    Refusal
        One cannot be removed.
    """
    kept = [path for path in subfolder("texts").iterdir() if path.suffix == ".txt" and path.stem not in HUB_TEXTS]
    try:
        for path in kept:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise Refusal(f"The kept text {error.filename} cannot be removed: {error.strerror}.") from error
    _remembered.cache_clear()
    return len(kept)


def digest_of(text: str) -> str:
    """sha256 of some text, as hexadecimal digits."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@lru_cache(maxsize=256)
def _remembered(name: str, stamp: tuple[int, int] | None, folder: str) -> str:
    """The digest of a text; ``stamp`` and ``folder`` only tell two texts of one name apart. Refusals are not kept."""
    return digest_of(read_text(name))


def _stamp(name: str) -> tuple[int, int] | None:
    """Size in bytes and time of change in ns of a file; None for a text that is no file of its reader."""
    if not _is_file(name):
        return None
    try:
        found = os.stat(os.path.expanduser(name))
    except (OSError, ValueError):
        return None  # reading it tells what is wrong
    return found.st_size, found.st_mtime_ns


def _is_file(name: str) -> bool:
    """Whether it is the path of a file, rather than a text that is known by its name."""
    return name not in NAMES and not name.startswith(OWN)


def _refuse(name: str) -> None:
    """Refuse a file that may not be opened, before anything is said of it."""
    if _is_file(name):
        refuse_text(name)


def _text(name: str) -> str:
    if name == BUNDLED:
        return _content(_PROSE)
    if name == "python-docs":
        from pydoc_data.topics import topics

        return "\n\n".join(topics[topic] for topic in sorted(topics))
    if name in HUB_TEXTS:
        return _lent[name] if name in _lent else hub_text(name)
    if name.startswith(OWN):
        return _kept(name.removeprefix(OWN))
    path = Path(os.path.expanduser(name))  # Path.expanduser would raise where "~somebody" has no home
    if path.suffix not in (".txt", ".jsonl") or "\0" in name:
        raise Refusal(
            f"There is no text '{printable(name)}'. Name one of: {', '.join(NAMES)}, or the path of a .txt or .jsonl file."
        )
    return _content(path) if path.suffix == ".txt" else _joined(path)


def _kept(reference: str) -> str:
    if reference in _lent:
        return _lent[reference]
    path = subfolder("texts") / f"{reference}.txt"
    # isalnum: nobody walks out of the folder. Texts were once named by their digest, which is longer, and no secret.
    if not (len(reference) == _REFERENCE and reference.isalnum() and path.is_file()):
        raise Refusal("This text is not kept on this machine. Paste or upload it again.")
    return _content(path)


def _content(path: Path) -> str:
    """A whole .txt file, or as much of it as is ever read."""
    try:
        # newline="": the text as it is, so that what was kept has the digest it is named by
        with io.TextIOWrapper(opened(path), encoding="utf-8", newline="") as file:
            return file.read(_LONGEST)
    except UnicodeDecodeError as error:
        raise not_utf8(path, error) from error
    except OSError as error:
        raise unreadable(path, error) from error


def _joined(path: Path) -> str:
    """The ``text`` fields of JSON lines, with blank lines between them; no more lines than make the longest text."""
    texts: list[str] = []
    length = read = 0
    try:
        with opened(path) as file:
            for number in count(1):
                line = file.readline(_LINE + 1)
                read += len(line)
                if not line or length >= _LONGEST + 2:
                    return "\n\n".join(texts)
                if len(line) > _LINE or read > _LARGEST:
                    raise _too_long(path, number, len(line) > _LINE)
                if line.strip():
                    texts.append(_text_of(line, number, path))
                    length += len(texts[-1]) + 2
    except OSError as error:
        raise unreadable(path, error) from error


def _text_of(line: bytes, number: int, path: Path) -> str:
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise not_utf8(path, error, f" in line {number}") from error
    except (ValueError, RecursionError) as error:
        said = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise Refusal(f"Line {number} of {path} is not JSON: {said}.") from error
    if not isinstance(row, dict) or not isinstance(row.get("text"), str):
        raise Refusal(f'Line {number} of {path} has no text field. Each line must look like {{"text": "…"}}.')
    return row["text"]


def _too_long(path: Path, number: int, line: bool) -> Refusal:
    if line:
        return Refusal(f"Line {number} of {path} is longer than {_LINE / 1e6:g} MB. Give each document a line of its own.")
    return Refusal(f"{path} is larger than {_LARGEST / 1e6:g} MB, and its texts are few. Leave out its other fields.")
