"""What tokens were found to say: the same comes with each request, and a signature costs more than a look."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Generic, TypeVar

T = TypeVar("T")

_MOST = 10_000


class Remembered(Generic[T]):
    """Findings by the SHA-256 of their tokens, the newest of them, until they expire."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._found: OrderedDict[bytes, tuple[float, T]] = OrderedDict()

    def get(self, token: str, now: float) -> T | None:
        """What was found; None when nothing was, or what it was is not good any more."""
        digest = _digest(token)
        found = self._found.get(digest)
        if found is None:
            return None
        if found[0] <= now:
            del self._found[digest]
            return None
        return found[1]

    def put(self, token: str, finding: T, expires_at: float) -> None:
        """Remember what was found, until a time in seconds since 1970."""
        digest = _digest(token)
        self._found[digest] = expires_at, finding
        self._found.move_to_end(digest)
        if len(self._found) > self._most:
            self._found.popitem(last=False)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
