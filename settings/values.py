"""How values are written: sizes, lists, limits. What cannot be read is a ValueError; the reader says what to write instead."""

import re
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

MEMORIES = ("cpu", "cuda")  # Apple's GPUs use the CPU's memory
_BYTES = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?) *((?:[KMGT]I?)?)B", re.I)


def size_in_bytes(given: Any) -> int:
    """``500MB`` or ``1.5GiB`` as bytes; a number is bytes already."""
    if isinstance(given, int) and not isinstance(given, bool):
        return given
    found = _SIZE.fullmatch(str(given).strip())
    if found is None:
        raise ValueError(f"'{given}' is not a size")
    return int(float(found[1]) * _BYTES[found[2].upper()])


def memory_limits(given: Any) -> tuple[tuple[str, int], ...]:
    """``16GB`` for each memory, or ``cpu=16GB,cuda=40GB``; in a file also a table."""
    if isinstance(given, tuple):  # the default
        return given
    items = [f"{name}={size}" for name, size in given.items()] if isinstance(given, dict) else str(given).split(",")
    limits: dict[str, int] = {}
    for item in items if str(given).strip() else ():
        name, named, size = (part.strip() for part in item.rpartition("="))
        if named and name.lower() not in MEMORIES:
            raise ValueError(f"'{item.strip()}' cannot be read")
        limits |= dict.fromkeys([name.lower()] if named else MEMORIES, size_in_bytes(size))
    return tuple(limits.items())


def names(given: Any) -> list[str]:
    """A list as such, or with commas between its items."""
    if not isinstance(given, str | list | tuple | set | frozenset):
        raise ValueError("it is not a list")
    items: Iterable[Any] = given.split(",") if isinstance(given, str) else given
    return [text for item in items if (text := str(item).strip())]


def networks(given: Any) -> list[IPv4Network | IPv6Network]:
    """Addresses and networks: ``127.0.0.1,172.16.0.0/12``."""
    return [ip_network(each) for each in names(given)]


def most(given: Any) -> Any:
    """A limit; ``none`` is no limit."""
    return None if isinstance(given, str) and given.strip().lower() == "none" else given
