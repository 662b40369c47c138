"""What tests of the store share: a process of its own, and changes behind the store's back."""

import copy
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cache.store import Store

ROOT = Path(__file__).parents[2]
MIB = 2**20


def child(code: str, *arguments: object) -> subprocess.Popen:
    """Run code in a process of its own; it prints to us line by line."""
    command = [sys.executable, "-u", "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[None]:
    """A folder becomes a disk of its own, of so many bytes; the test is skipped where this person may not mount one."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("only root may mount")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder], capture_output=True).returncode:
        pytest.skip("this machine may not mount")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def fill(path: Path) -> None:
    """Write until the disk is full."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


def tamper(store: Store, statement: str, *values: object) -> None:
    """Change the database behind the store's back."""
    connection = sqlite3.connect(store.directory / "cache.db")
    with connection:
        connection.execute(statement, values)
    connection.close()


def paths(value, here=()):
    """Ways to every value inside JSON."""
    for name in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield (*here, name)
        yield from paths(value[name], (*here, name))


def replaced(value, path, wrong):
    """A copy of JSON with another value at a place."""
    found = copy.deepcopy(value)
    *way, last = path
    inner = found
    for name in way:
        inner = inner[name]
    inner[last] = wrong
    return found
