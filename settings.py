"""What the operator sets by environment variables, and the one data directory, which is never inside the checkout."""

import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from refusal import Refusal

MEMORIES = ("cpu", "cuda")  # Apple's GPUs use the CPU's memory
_BYTES = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?) *((?:[KMGT]I?)?)B", re.I)


@dataclass(frozen=True)
class Settings:
    """What the environment says.

    Attributes
    ----------
    data : Path
        The folder for converted models, kept texts and cached answers; not created yet.
    memory : tuple of (str, int)
        Most bytes that loaded models may take together, by ``cpu`` and ``cuda``; a memory without a row has no fixed limit.
    trust : frozenset of str
        Hub ids and folders that may run code of their own and load pickled weights.
    exports : Path
        The folder for exported models; not created yet.
    tasks : Path or None
        A folder with evaluation tasks of one's own, which may hold code; None: there is none.
    """

    data: Path
    memory: tuple[tuple[str, int], ...]
    trust: frozenset[str]
    exports: Path
    tasks: Path | None

    def limit(self, memory: str) -> int | None:
        """Most bytes for models in one memory; None: no fixed limit."""
        return dict(self.memory).get(memory)


def settings() -> Settings:
    """The settings as the environment has them now.

    ``PRUNESCOPE_DATA`` names the data directory, else it is the platform's cache folder. ``PRUNESCOPE_MEMORY`` limits what
    loaded models take: ``16GB`` in each memory, or ``cpu=16GB,cuda=40GB``. ``PRUNESCOPE_TRUST`` lists models by comma.
    ``PRUNESCOPE_EXPORTS`` names the folder for exports, else it is ``exports`` in the data directory. ``PRUNESCOPE_TASKS``
    names a folder with evaluation tasks.

    Raises
    ------
    Refusal
        A value cannot be read.
    """
    named = (name.strip() for name in os.environ.get("PRUNESCOPE_TRUST", "").split(","))
    data = Path(os.environ.get("PRUNESCOPE_DATA") or platformdirs.user_cache_dir("prunescope")).expanduser()
    return Settings(
        data=data,
        memory=_memory(os.environ.get("PRUNESCOPE_MEMORY", "")),
        trust=frozenset(filter(None, named)),
        exports=Path(os.environ.get("PRUNESCOPE_EXPORTS") or data / "exports").expanduser(),
        tasks=Path(tasks).expanduser() if (tasks := os.environ.get("PRUNESCOPE_TASKS")) else None,
    )


def data_directory() -> Path:
    """The folder for converted models, kept texts and cached answers; created for its owner alone.

    Raises
    ------
    Refusal
        The folder cannot be made or written.
    """
    return _made(settings().data, "data directory", "PRUNESCOPE_DATA")


def exports_directory() -> Path:
    """The folder for exported models; created for its owner alone.

    Raises
    ------
    Refusal
        The folder cannot be made or written.
    """
    return _made(settings().exports, "folder for exports", "PRUNESCOPE_EXPORTS")


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
    advice = f"Set {variable} to a folder that you may write, with a few GB free."
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Refusal(f"The {what} {folder} cannot be made: {error.strerror}. {advice}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise Refusal(f"The {what} {folder} cannot be written. {advice}")
    return folder


def _memory(text: str) -> tuple[tuple[str, int], ...]:
    """``16GB`` for each memory, or ``cpu=16GB,cuda=40GB``."""
    if not text.strip():
        return ()
    limits: dict[str, int] = {}
    for item in text.split(","):
        name, named, size = (part.strip() for part in item.rpartition("="))
        found = _SIZE.fullmatch(size)
        if found is None or (named and name.lower() not in MEMORIES):
            raise Refusal(
                f"PRUNESCOPE_MEMORY is '{text}', and '{item.strip()}' cannot be read. Write a size for each memory, as in "
                "16GB or 500MB, or name the memory: cpu=16GB,cuda=40GB."
            )
        size_in_bytes = int(float(found[1]) * _BYTES[found[2].upper()])
        limits |= dict.fromkeys([name.lower()] if named else MEMORIES, size_in_bytes)
    return tuple(limits.items())
