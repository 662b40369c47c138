"""All answers on one model in one file: measured on one machine, looked at on another."""

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from cache import bundle
from cache.codec import decode
from cache.store import Store
from models.subject import ModelRef
from probes.answer import Answer, open_store
from probes.base import from_dict
from probes.known import Known
from probes.question import probe_named
from refusal import Refusal, plural


def packed(store: Store, ref: ModelRef, file: Path, pieces: bool = False) -> int:
    """Write every answer on a model into a file; returns how many.

    Parameters
    ----------
    pieces : bool
        Also what plans learned and the dense side, from which more can be computed. They are as large as the model.

    Raises
    ------
    Refusal
        Nothing is known of the model.
    """
    known = Known(store)
    fingerprint = known.identify(ref)
    known.note(ref, fingerprint)
    keys = list(_keys(store, fingerprint, pieces))
    if not any(key for key in keys if not key.startswith("model ")):
        raise Refusal(f"There are no answers on {ref.name} to pack. Measure something first.")
    return bundle.pack(store, keys, file, {"model": asdict(ref), "fingerprint": fingerprint})


def unpacked(store: Store, file: Path | BinaryIO) -> str:
    """Take in a bundle; returns a sentence on what it held."""
    found = bundle.unpack(store, file)
    model = found.told.get("model", {}).get("name", "a model")
    return f"Added {plural(found.added, 'row')} on {model}; {found.known} already there."


def answers_in(file: Path) -> list[Answer]:
    """The answers of a bundle, read where it lies; no store takes them in.

    Raises
    ------
    BundleError
        The file is no bundle, or is damaged.
    """
    return [
        Answer(from_dict(probe_named(about["question"]["probe"]).result, decode(payload)), about)
        for about, payload in bundle.read(file)
    ]


def run(options: argparse.Namespace) -> str:
    """The commands ``pack`` and ``unpack`` of the shell; returns the line to print."""
    store, file = open_store(), Path(options.file)
    if options.command == "unpack":
        return unpacked(store, file)
    ref = ModelRef(options.model, options.revision, options.dtype, options.device)
    return f"Packed {plural(packed(store, ref, file, options.pieces), 'row')} on {ref.name} into {file}."


def _keys(store: Store, fingerprint: str, pieces: bool) -> Iterator[str]:
    """Keys of what is about a model: its names, its answers and, if asked, what was learned and kept on the way."""
    for entry in store.entries():
        about = entry.about
        ours = about.get("fingerprint") == fingerprint or _fingerprint(about.get("question")) == fingerprint
        if ours or (pieces and _fingerprint(about.get("of")) == fingerprint):
            yield entry.key


def _fingerprint(question: Any) -> str | None:
    model = question.get("model") if isinstance(question, dict) else None
    return model.get("fingerprint") if isinstance(model, dict) else None
