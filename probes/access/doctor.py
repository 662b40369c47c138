"""What is configured, and from where; what can be reached, what is free, and what is wrong: one line each."""

import importlib.util
import json
import os
import shutil
import socket
from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import torch
from huggingface_hub import constants, is_offline_mode

from cache.disk import StoreError
from models.loading import bundled
from models.loading.memory import format_bytes, free_memory
from probes.answer import open_store
from refusal import Refusal
from settings import Settings, data_directory, exports_directory, settings
from settings.reading import file_named, origin

_SMALL_DISK, _PATIENCE = 1_000_000_000, 3.0  # bytes, seconds
_NETWORKED = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "ceph", "glusterfs", "9p")
_EXTRAS = {
    "datasets": "WikiText-2 and C4", "lm_eval": "tasks of lm-evaluation-harness", "xllamacpp": "exported GGUF files",
    "ray": "answers from a cluster",
}  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """One line: ``state`` is ``set``, ``ok``, ``note`` or ``wrong``."""

    state: str
    about: str
    says: str

    def __str__(self) -> str:
        return f"{self.state:<6} {self.about:<16} {self.says}"


def command(parser: ArgumentParser, arguments: list[str]) -> tuple[str, int]:
    """The command ``doctor`` of the shell; returns what to print, and the exit code: 1 if something is wrong."""
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    options = parser.parse_args(arguments)
    found = list(findings())
    text = json.dumps([asdict(each) for each in found], indent=1) if options.json else "\n".join(map(str, found))
    return text, int(any(each.state == "wrong" for each in found))


def findings() -> Iterator[Finding]:
    """Everything there is to say; where the settings cannot be read, only that."""
    try:
        now = settings()
    except Refusal as refusal:
        yield Finding("wrong", "settings", str(refusal))
        return
    yield from _configured(now)
    yield from _folders(now)
    yield from _machine(now)
    yield from _reachable()
    yield from _people(now)


def _configured(now: Settings) -> Iterator[Finding]:
    """What is set and where; the rest has its default."""
    file = file_named()
    yield Finding("ok", "settings", f"read from the environment and {file}" if file else "read from the environment; no file")
    for name in type(now).model_fields:
        if (where := origin(name)) != "default":
            yield Finding("set", name, f"{_shown(getattr(now, name))} ({where})")


def _shown(value: object) -> str:
    if isinstance(value, frozenset | tuple):
        items = ("=".join(map(str, each)) if isinstance(each, tuple) else str(each) for each in value)
        return ", ".join(sorted(items)) or "none"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _folders(now: Settings) -> Iterator[Finding]:
    """Whether what is needed can be written, and what is named is there."""
    for about, made in (("data directory", data_directory), ("exports", exports_directory)):
        try:
            yield from _disk(about, made())
        except Refusal as refusal:
            yield Finding("wrong", about, str(refusal))
    try:
        store = open_store()
        yield Finding("ok", "answers", f"{format_bytes(store.size)} of {format_bytes(store.limit)} used")
        store.close()
    except (StoreError, Refusal) as error:
        yield Finding("wrong", "answers", str(error))
    for name in ("roots", "tasks"):
        named = getattr(now, name) or ()
        for folder in named if isinstance(named, tuple) else (named,):
            if not folder.is_dir():
                yield Finding("wrong", name, f"There is no folder {folder}. Create it, or remove it from {origin(name)}.")


def _disk(about: str, folder: Path) -> Iterator[Finding]:
    free = shutil.disk_usage(folder).free
    state, more = ("ok", "") if free >= _SMALL_DISK else ("wrong", ". Make room: answers and models need some GB")
    yield Finding(state, about, f"{folder}, {format_bytes(free)} free{more}")
    parts = [part for part in psutil.disk_partitions(all=True) if folder.resolve().is_relative_to(part.mountpoint)]
    kind = max(parts, key=lambda part: len(part.mountpoint)).fstype if parts else ""
    if kind in _NETWORKED and about == "data directory":
        yield Finding("wrong", about, f"{folder} is on a network ({kind}), where SQLite is unsafe. Use a local disk.")


def _machine(now: Settings) -> Iterator[Finding]:
    free, there = free_memory("cpu"), psutil.virtual_memory().total
    limit = now.limit("cpu")
    yield Finding("ok", "memory", f"{format_bytes(free)} free of {format_bytes(there)}")
    if limit is not None and limit > there:
        yield Finding("wrong", "memory", f"Models may take {format_bytes(limit)}, more than this machine has. Lower the limit.")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Finding("ok", "CPUs", f"{cores} usable, torch computes on {torch.get_num_threads()}")
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        names.append("Apple GPU (mps)")
    yield Finding("ok", "devices", ", ".join(names) or "no GPU: models run on the CPU")


def _reachable() -> Iterator[Finding]:
    try:
        state = "unpacked" if bundled.converted().is_dir() else "not unpacked yet"
        yield Finding("ok", "bundled model", f"installed, {state} ({bundled.gguf().name})")
    except Refusal as refusal:
        yield Finding("wrong", "bundled model", str(refusal))
    yield _hub()
    for name, what in _EXTRAS.items():
        there = importlib.util.find_spec(name) is not None
        yield Finding("ok" if there else "note", name, f"{'installed' if there else 'not installed'}, for {what}")


def _hub() -> Finding:
    """Whether a connection to the hub can be made; nothing is asked of it."""
    if is_offline_mode():
        return Finding("note", "hub", "HF_HUB_OFFLINE is set, so only models on this machine can be loaded")
    parts = urlsplit(constants.ENDPOINT)
    place = parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection(place, _PATIENCE).close()
    except OSError as error:
        why = f"{constants.ENDPOINT} cannot be reached ({error})"
        return Finding("note", "hub", f"{why}, so only models on this machine can be loaded")
    return Finding("ok", "hub", f"{constants.ENDPOINT} can be reached")


def _people(now: Settings) -> Iterator[Finding]:
    """What of the settings on people does not fit together."""
    if now.user_header and not now.proxies:
        yield Finding("wrong", "user_header", "No proxy is trusted, so nobody gets in. Set PRUNESCOPE_PROXIES to its address.")
    if now.proxies and not now.user_header:
        yield Finding("wrong", "proxies", "No header is named, so the proxies have no effect. Set PRUNESCOPE_USER_HEADER.")
    if now.user_header and now.open:
        yield Finding("wrong", "open", "A proxy names the users, so PRUNESCOPE_OPEN has no effect. Remove it.")
