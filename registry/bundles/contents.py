"""Manifests and blobs by their digests, a hundred thousand in a few mebibytes.

An object for each digest, and one for what is known of it, would take five times as much. So the bytes of all
digests stand in one row, found by a table of places (open addressing), and each fact is a column.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass

Key = bytes
"""A digest as bytes: 32 of sha256 or 64 of sha512."""

_FIRST_SLOTS = 8
_IN_PIECES = 0xFFFF  # where the medium of what lies in one stands


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes in one file of a medium."""

    medium: int
    size: int


@dataclass(frozen=True, slots=True)
class Content:
    """A manifest or a blob: its bytes, the repositories that have it, and the pieces that lie in the media.

    `media_type` is a manifest's; `sparse` says that it lists more than is stated with it.
    """

    size: int
    repositories: tuple[str, ...]
    media_type: str = ""
    sparse: bool = False
    pieces: tuple[Piece, ...] = ()

    @property
    def carried(self) -> bool:
        """Whether its bytes lie in the bundle."""
        return bool(self.pieces)


class Digests(Set[Key]):
    """A set of digests that remembers in which order they were added, each with its place in it (from 0)."""

    __slots__ = ("_bytes", "_ends", "_slots")

    def __init__(self, keys: Iterable[Key] = ()) -> None:
        self._bytes = bytearray()
        self._ends = array("Q", [0])
        self._slots = array("I", [0]) * _FIRST_SLOTS
        for key in keys:
            self.add(key)

    def add(self, key: Key) -> int:
        """Its place, where it has one already or at the end."""
        slot = self._slot(key)
        if place := self._slots[slot]:
            return place - 1
        self._bytes += key
        self._ends.append(len(self._bytes))
        self._slots[slot] = len(self)
        if 2 * len(self) > len(self._slots):
            self._slots = array("I", [0]) * (2 * len(self._slots))
            for place, one in enumerate(self, 1):
                self._slots[self._slot(one)] = place
        return len(self) - 1

    def place(self, key: object) -> int | None:
        """Its place; None where it is not here."""
        place = self._slots[self._slot(key)]
        return place - 1 if place else None

    def __contains__(self, key: object) -> bool:
        return self._slots[self._slot(key)] != 0

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __iter__(self) -> Iterator[Key]:
        return map(self.at, range(len(self)))

    def __reversed__(self) -> Iterator[Key]:
        return map(self.at, reversed(range(len(self))))

    def at(self, place: int) -> Key:
        """What has a place."""
        return bytes(self._bytes[self._ends[place] : self._ends[place + 1]])

    def _slot(self, key: object) -> int:
        """Where the table has the place of a digest, counted from 1, or has room for it."""
        last = len(self._slots) - 1
        # The interpreter salts it, so that nobody can state digests that all stand in one place.
        slot = hash(key) & last
        while (place := self._slots[slot]) and self.at(place - 1) != key:
            slot = (slot + 1) & last
        return slot


class Contents(Mapping[Key, Content]):
    """Manifests or blobs in the order in which they were added; those that are set again keep their place."""

    __slots__ = ("_keys", "_kinds", "_known", "_media", "_pieces", "_sizes", "_traits")

    def __init__(self, contents: Iterable[tuple[Key, Content]] = ()) -> None:
        self._keys = Digests()
        self._sizes = array("Q")
        self._media = array("H")  # 0: it does not lie in the bundle
        self._pieces: dict[int, tuple[Piece, ...]] = {}
        # What many have alike: repositories, media type, whether it is sparse.
        self._traits = array("I")
        self._known: dict[tuple[tuple[str, ...], str, bool], int] = {}
        self._kinds: list[tuple[tuple[str, ...], str, bool]] = []
        for key, content in contents:
            self[key] = content

    def __setitem__(self, key: Key, content: Content) -> None:
        kind = (content.repositories, content.media_type, content.sparse)
        trait = self._known.setdefault(kind, len(self._kinds))
        if trait == len(self._kinds):
            self._kinds.append(kind)
        place = self._keys.add(key)
        if place == len(self._sizes):
            for column in (self._sizes, self._traits, self._media):
                column.append(0)
        self._sizes[place], self._traits[place] = content.size, trait
        self._lay(place, content.pieces)

    def lay(self, key: Key, pieces: tuple[Piece, ...]) -> None:
        """Say where its bytes lie. Raises KeyError."""
        self._lay(self.place(key), pieces)

    def __getitem__(self, key: Key) -> Content:
        return self._at(self.place(key))

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def __iter__(self) -> Iterator[Key]:
        return iter(self._keys)

    def __reversed__(self) -> Iterator[Key]:
        return reversed(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def by_repository(self) -> dict[str, array[int]]:
        """Of each repository the places of what it has, in order."""
        found: dict[str, array[int]] = {}
        for place, trait in enumerate(self._traits):
            for name in self._kinds[trait][0]:
                found.setdefault(name, array("I")).append(place)
        return found

    def at(self, place: int) -> tuple[Key, Content]:
        """What has a place in the order."""
        return self._keys.at(place), self._at(place)

    def place(self, key: Key) -> int:
        """Its place in the order, from 0 on. Raises KeyError."""
        place = self._keys.place(key)
        if place is None:
            raise KeyError(key)
        return place

    def _at(self, place: int) -> Content:
        return Content(self._sizes[place], *self._kinds[self._traits[place]], self._laid(place))

    def _lay(self, place: int, pieces: tuple[Piece, ...]) -> None:
        self._pieces.pop(place, None)
        self._media[place] = pieces[0].medium if len(pieces) == 1 else 0
        if len(pieces) > 1:
            self._media[place] = _IN_PIECES
            self._pieces[place] = pieces

    def _laid(self, place: int) -> tuple[Piece, ...]:
        medium = self._media[place]
        if medium == _IN_PIECES:
            return self._pieces[place]
        return (Piece(medium, self._sizes[place]),) if medium else ()
