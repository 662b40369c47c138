"""Where exports go: a folder of their own, whole or not at all."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from models.loading.memory import format_bytes
from refusal import Refusal
from settings import exports_directory

RECORD = "prunescope.json"  # every export has it
_SPARE = 100_000_000  # bytes for tokenizer, configs and whoever else writes to that disk


def destination(name: str, overwrite: bool) -> Path:
    """The folder that an export is to become; it is not made yet.

    Parameters
    ----------
    name : str
        Relative to the export folder, or inside it.
    overwrite : bool
        An earlier export may be replaced.

    Raises
    ------
    Refusal
        It is outside the export folder, or something is there.
    """
    root = exports_directory().resolve()
    target = (root / Path(name).expanduser()).resolve()  # links are followed before it is looked where they lead
    if not name.strip() or target == root or not target.is_relative_to(root):
        raise Refusal(f"'{name}' is not a folder inside {root}, where exports go. PRUNESCOPE_EXPORTS names that folder.")
    if target.exists() and not overwrite:
        raise Refusal(f"{target} exists. Give another name, or say --overwrite to replace it.")
    if target.exists() and not (target / RECORD).is_file():
        raise Refusal(f"{target} is not an export (it has no {RECORD}), so it is not replaced. Give another name.")
    return target


def refuse_full(target: Path, size: int) -> None:
    """Refuse to write what the disk has no room for; an export that is replaced goes only when the new one is there."""
    free = shutil.disk_usage(exports_directory()).free
    if size + _SPARE > free:
        raise Refusal(
            f"The export takes {format_bytes(size)}, and {format_bytes(free)} are free in {target.parent}. Make room, or set "
            "PRUNESCOPE_EXPORTS to a folder on a larger disk."
        )


@contextmanager
def whole(target: Path) -> Iterator[Path]:
    """A folder to write into, which becomes the target when the block ends well, and is gone when it does not."""
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-"))
    try:
        yield scratch
        if target.exists():
            old = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-")) / "old"
            target.rename(old)
            scratch.rename(target)
            shutil.rmtree(old.parent)
        else:
            scratch.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)  # gone already when all went well
