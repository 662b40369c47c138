"""Pieces of long computations as rows of the store, read one at a time."""

from collections.abc import Iterator, MutableMapping
from contextlib import suppress
from typing import Any

from cache.codec import CodecError, decode, encode
from cache.store import Store, StoreError
from refusal import Refusal


class Kept(MutableMapping[str, dict[str, Any]]):
    """The pieces below a key of the store; what is put is written at once, and one that is damaged is refused once.

    Parameters
    ----------
    about : dict
        What is said about each piece.
    uses : bool
        Whether reading a piece counts as a use of it; not where somebody only looks.
    """

    def __init__(self, store: Store, key: str, about: dict[str, Any], uses: bool = True) -> None:
        self._store, self._key, self._about, self._uses = store, key, about, uses

    def __getitem__(self, name: str) -> dict[str, Any]:
        row = self._store.read(f"{self._key}/{name}", hit=self._uses)
        if row is None:
            raise KeyError(name)
        try:
            return decode(row.payload)
        except CodecError as error:  # whoever reads it relies on its being there, so it is told and not left out
            del self[name]
            raise Refusal("A stored part of this computation was damaged, so it was forgotten. Ask again.") from error

    def __setitem__(self, name: str, piece: dict[str, Any]) -> None:
        self._store.put(f"{self._key}/{name}", encode(piece), self._about | {"piece": name})

    def __delitem__(self, name: str) -> None:
        self._store.delete(f"{self._key}/{name}")

    def __contains__(self, name: object) -> bool:
        return self._store.has(f"{self._key}/{name}")

    def __iter__(self) -> Iterator[str]:
        begin = len(self._key) + 1
        return (key[begin:] for key in self._store.keys(f"{self._key}/"))

    def __len__(self) -> int:
        return len(self._store.keys(f"{self._key}/"))


class Spare(Kept):
    """Pieces that one can do without: a disk that takes none of them costs only that they are computed again."""

    def __setitem__(self, name: str, piece: dict[str, Any]) -> None:
        with suppress(StoreError):
            super().__setitem__(name, piece)
