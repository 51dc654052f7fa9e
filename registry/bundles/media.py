"""Which bytes lie in which medium: in order, each filled before the next, large files cut in pieces."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass

from registry.bundles.contents import Content, Contents, Key, Piece
from registry.bundles.format import LARGEST_FILE, MOST_MEDIA
from registry.bundles.statement import Statement, digest_of
from registry.errors import RequestInvalid
from registry.model.units import format_size

FILE = re.compile(
    r"blobs/(?:sha256/(?=[0-9a-f]{64}(?:\.|$))|sha512/(?=[0-9a-f]{128}(?:\.|$)))([0-9a-f]+)(?:\.([0-9]{3,6}))?"
)
"""The names of files with bytes of a manifest or blob, or a piece of them."""

# Files take whole blocks of a medium, which exFAT makes as large as this.
_BLOCK = 32 << 10
_SUM_BYTES = 216  # a line of SHA256SUMS, for a piece of a sha512 blob
# The head, its signatures, README.txt, the layout's files, and their directories.
_RESERVED = 2 << 20
_SMALLEST_PIECE = 1 << 20
SMALLEST_MEDIUM = 16 << 20
SMALL = 512 << 10
"""The most bytes of files that are read or written several at a time."""
AT_ONCE = 16
"""How many of those."""
MANIFESTS_AT_ONCE, MANIFESTS_BYTES = 128, 4 << 20
"""How many manifests are in memory at once, and how much of them unless one is larger."""


@dataclass(frozen=True, slots=True)
class File:
    """A file with bytes of a manifest or blob: `size` of them, in a medium (from 1 on)."""

    medium: int
    name: str
    key: Key
    size: int

    @property
    def is_piece(self) -> bool:
        """Whether others have the rest."""
        return "." in self.name


def medium_folder(number: int) -> str:
    """The folder of one of several media."""
    return f"medium-{number:03d}"


def file_name(key: Key, piece: int | None = None) -> str:
    """The name of a file with the bytes of a digest, or one piece of them (image-spec: Image Layout)."""
    digest = digest_of(key)
    name = f"blobs/{digest.algorithm}/{digest.encoded}"
    return name if piece is None else f"{name}.{piece:03d}"


def files_of(key: Key, content: Content) -> Iterator[File]:
    """The files in which the bytes of a manifest or blob lie."""
    for number, piece in enumerate(content.pieces):
        name = file_name(key, None if len(content.pieces) == 1 else number)
        yield File(piece.medium, name, key, piece.size)


def file_of(statement: Statement, name: str) -> File | None:
    """The file that is called so; None where what is stated has no such."""
    found = FILE.fullmatch(name)
    if found is None:
        return None
    key = bytes.fromhex(found[1])
    content = statement.manifests.get(key) or statement.blobs.get(key)
    if content is None:
        return None
    number, is_whole = int(found[2] or 0), len(content.pieces) == 1
    # Not by going through all before it, of which there may be many thousands.
    if number >= len(content.pieces) or name != file_name(key, None if is_whole else number):
        return None
    piece = content.pieces[number]
    return File(piece.medium, name, key, piece.size)


def batches(
    contents: Iterable[tuple[Key, Content]], at_once: int = AT_ONCE, most_bytes: int = AT_ONCE * SMALL
) -> Iterator[list[tuple[Key, Content]]]:
    """Contents in their order: small ones together, which a store far away gives as soon as one."""
    some: list[tuple[Key, Content]] = []
    total = 0
    for key, content in contents:
        is_small = content.size <= SMALL
        total += content.size
        if some and (not is_small or len(some) == at_once or total > most_bytes):
            yield some
            some, total = [], content.size
        some.append((key, content))
        if not is_small:
            yield some
            some, total = [], 0
    if some:
        yield some


def files(statement: Statement) -> Iterator[File]:
    """All such files, in the order in which they are written."""
    for key, content in statement.carried:
        yield from files_of(key, content)


def lay_out(statement: Statement, carried: Set[Key], medium_bytes: int | None, other_bytes: int) -> int:
    """Give what is carried its place; how many media that takes.

    Without a size there is one, whose files are never cut. `other_bytes` are those of the files that lie in
    the first beside what all have. Raises RequestInvalid for media that are too small.
    """
    if medium_bytes is None:
        for contents, key, size in _placed(statement, carried):
            contents.lay(key, (Piece(1, size),))
        return 1
    room = medium_bytes - _RESERVED
    if medium_bytes < SMALLEST_MEDIUM or room - other_bytes < _SMALLEST_PIECE:
        least = max(SMALLEST_MEDIUM, _RESERVED + other_bytes + _SMALLEST_PIECE)
        raise RequestInvalid(
            f"media of {format_size(medium_bytes)} are too small for this bundle; it needs such of at least"
            f" {format_size(least)}"
        )
    medium, left = 1, room - _blocks(other_bytes)
    for contents, key, missing in _placed(statement, carried):
        pieces: list[Piece] = []
        while missing or not pieces:
            # A file that fits is not cut; nor is a large one for the sake of a small rest.
            most = min(left - _SUM_BYTES, LARGEST_FILE) // _BLOCK * _BLOCK
            if missing > most and most < _SMALLEST_PIECE:
                medium, left = medium + 1, room
                continue
            size = min(missing, most)
            pieces.append(Piece(medium, size))
            missing -= size
            left -= _blocks(size) + _SUM_BYTES
        contents.lay(key, tuple(pieces))
    if medium > MOST_MEDIA:
        raise RequestInvalid(
            f"this bundle would take {medium} media, and {MOST_MEDIA} are the most; take larger ones"
        )
    return medium


def _placed(statement: Statement, carried: Set[Key]) -> Iterator[tuple[Contents, Key, int]]:
    """What is carried, with its bytes, in order; what is not, or lies with the manifests, has no place."""
    for contents in (statement.manifests, statement.blobs):
        for key, one in contents.items():
            if key in carried and (contents is statement.manifests or key not in statement.manifests):
                yield contents, key, one.size
            else:
                contents.lay(key, ())


def _blocks(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK
