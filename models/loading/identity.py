"""Which model a reference means on this machine now: asked at every redraw of a page, so it is remembered by process."""

import hashlib
import os
from collections import OrderedDict
from typing import Any

from models.loading.gaps import gaps_in
from models.loading.memory import estimated
from models.loading.sources import Source, here, size
from models.loading.weight_files import TEXTS, fingerprint_of
from models.subject import ModelRef
from refusal import Progress, silent

# What the files of a model look like from outside: folder, its relevant files with size and time of change, and trust.
_State = tuple[Any, ...]
_ENDINGS = (*(pattern.removeprefix("*") for pattern in TEXTS), ".safetensors", ".bin")
_KEPT = 500
_known: OrderedDict[tuple[ModelRef, _State], str] = OrderedDict()


def identify(ref: ModelRef, progress: Progress = silent) -> str:
    """The fingerprint of a model whose files are on this machine; it is what the loaded model will carry.

    Nothing is downloaded. Weight files are read once, and again when their size or time of change differs.

    Raises
    ------
    Refusal
        There is no such model, or it is not completely on this machine.
    """
    return identity(here(ref.name, ref.revision), ref, progress)


def identity(source: Source, ref: ModelRef, progress: Progress = silent) -> str:
    """The fingerprint of what a source holds, computed as ``ref`` asks."""
    key = ref, _state(source)
    if key not in _known:
        dtype = estimated(*size(source), ref.dtype, ref.device).dtype
        found = fingerprint_of(source.folder, source.files, dtype, progress)
        gaps = None if source.gguf else gaps_in(source.folder)
        if gaps is not None and gaps.blocks:  # its layers are numbered otherwise than those of the plain model
            found = hashlib.sha256(f"{found} {gaps.blocks} {gaps.config}".encode()).hexdigest()
        _known[key] = found
        while len(_known) > _KEPT:
            _known.popitem(last=False)
    return _known[key]


def _state(source: Source) -> _State:
    with os.scandir(source.folder) as entries:
        read = (each for each in entries if each.name.endswith(_ENDINGS) or each.name == source.gguf)
        seen = ((each.name, each.stat()) for each in read if each.is_file())  # not a link to nothing
        files = sorted((name, status.st_size, status.st_mtime_ns) for name, status in seen)
    return str(source.folder.absolute()), source.gguf, source.trusted, tuple(files)
