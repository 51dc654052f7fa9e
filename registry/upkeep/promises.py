"""What a key promises of the bytes below it."""

from __future__ import annotations

from registry.model.digests import Digest, DigestCheck
from registry.store import parsing


def check_of(key: str) -> DigestCheck | None:
    """What holds the bytes of an object to the digest in its key; None where its key has none."""
    digest = parsing.digest_of(key)
    if digest is None:
        return None
    return _AfterType(digest) if parsing.is_whole_manifest(key) else DigestCheck(digest)


class _AfterType(DigestCheck):
    """Of a manifest that lies whole: its bytes begin behind the line with its type."""

    def __init__(self, digest: Digest) -> None:
        super().__init__(digest)
        self._in_line = True

    def update(self, piece: bytes | bytearray | memoryview, /) -> None:
        if self._in_line:
            _, newline, piece = bytes(piece).partition(b"\n")
            self._in_line = not newline
        super().update(piece)
