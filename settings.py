"""Where things are kept: one data directory, never inside the checkout."""

import os
import tempfile
from pathlib import Path

import platformdirs

from refusal import Refusal


def data_directory() -> Path:
    """The folder for converted models, kept texts and cached answers; created for its owner alone.

    ``PRUNESCOPE_DATA`` names it, else it is the platform's cache folder.

    Raises
    ------
    Refusal
        The folder cannot be made or written.
    """
    folder = Path(os.environ.get("PRUNESCOPE_DATA") or platformdirs.user_cache_dir("prunescope")).expanduser()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Refusal(f"The data directory {folder} cannot be made: {error.strerror}. {_ADVICE}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise Refusal(f"The data directory {folder} cannot be written. {_ADVICE}")
    return folder


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


_ADVICE = "Set PRUNESCOPE_DATA to a folder that you may write, with a few GB free."
