"""The data directory and the folder for exports, which are never inside the checkout."""

import os
import tempfile
from pathlib import Path

from refusal import Refusal
from settings.reading import settings


def data_directory() -> Path:
    """The folder for converted models, kept texts and cached answers; created for its owner alone.

    Raises
    ------
    Refusal
        The folder cannot be made or written.
    """
    return _made(settings().data, "data directory", "PRUNESCOPE_DATA")


def exports_folder() -> Path:
    """Where exported models go; the folder may not be there yet."""
    now = settings()
    return now.exports or now.data / "exports"


def exports_directory() -> Path:
    """The folder for exported models; created for its owner alone.

    Raises
    ------
    Refusal
        The folder cannot be made or written.
    """
    return _made(exports_folder(), "folder for exports", "PRUNESCOPE_EXPORTS")


def subfolder(name: str) -> Path:
    """A folder inside the data directory, created when missing."""
    folder = data_directory() / name
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def write_atomically(path: Path, text: str) -> None:
    """Write a UTF-8 file so that a reader sees all of it or none, whenever this process dies."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def _made(folder: Path, what: str, variable: str) -> Path:
    advice = f"Set {variable} to a folder that you can write to, with a few GB free."
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Refusal(f"The {what} {folder} cannot be made: {error.strerror}. {advice}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise Refusal(f"The {what} {folder} cannot be written to. {advice}")
    return folder
