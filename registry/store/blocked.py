"""Blocked content: what was purged, and may neither be stored again nor be read."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from registry.errors import Denied, DigestInvalid
from registry.model.digests import Digest
from registry.store import layout, parsing
from storage.contract import Driver
from storage.errors import AlreadyExists, NotFound, TooLarge

_LIMIT = 64 << 10  # bytes of a mark


@dataclass(frozen=True, slots=True)
class Block:
    """Why content is blocked: `digests` are all that its bytes have, the first the one that was asked for."""

    digests: tuple[Digest, ...]
    by: str
    at: datetime
    reason: str


class Blocked:
    """What is blocked in one store, as this process has last seen it."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._blocks: dict[str, Block] = {}
        self.digests: frozenset[Digest] = frozenset()

    @property
    def blocks(self) -> list[Block]:
        """All of them, the newest first."""
        return sorted(self._blocks.values(), key=lambda block: (block.at, str(block.digests)), reverse=True)

    async def look(self) -> None:
        """See what other processes have blocked or unblocked; marks that were seen are not read again."""
        keys = [key async for key in self._driver.walk(layout.BLOCKED)]
        found = {key: self._blocks.get(key) or await self._read(key) for key in keys}
        self._blocks = {key: block for key, block in found.items() if block is not None}
        self.digests = frozenset(one for block in self._blocks.values() for one in block.digests)

    async def put(self, block: Block) -> None:
        """Block content; one mark says all, so that there is never half of it. One that is there stays."""
        mark = {
            "digests": [str(digest) for digest in block.digests],
            "by": block.by,
            "at": block.at.isoformat(),
            "reason": block.reason,
        }
        with suppress(AlreadyExists):
            data = json.dumps(mark).encode()
            await self._driver.put(layout.blocked(block.digests[0]), data, if_absent=True)
        await self.look()

    async def lift(self, digest: Digest) -> list[Digest]:
        """Let content be stored again; the digests that were blocked with it, none if it was not."""
        keys = [key for key, block in self._blocks.items() if digest in block.digests]
        lifted = [one for key in keys for one in self._blocks[key].digests]
        if keys:
            await self._driver.delete(keys)
            await self.look()
        return lifted

    def of(self, digest: Digest) -> Block | None:
        """What blocks a digest."""
        return next((block for block in self.blocks if digest in block.digests), None)

    def withholds(self, key: str) -> bool:
        """Whether what lies under a key is blocked content, or makes a repository have it."""
        return bool(self.digests) and parsing.content_of(key) in self.digests

    def refuse(self, digests: Iterable[Digest]) -> None:
        """Raises Denied for the first that is blocked."""
        for digest in digests if self.digests else ():
            if digest in self.digests:
                raise Denied(
                    f"{digest} was purged by an administrator of this registry and may not be stored again",
                    detail={"digest": str(digest)},
                )

    async def _read(self, key: str) -> Block | None:
        digest = parsing.blocked_of(key)
        if digest is None:
            return None
        try:
            mark = json.loads(await self._driver.get(key, limit=_LIMIT))
            digests = tuple(Digest.parse(one) for one in mark["digests"])
            return Block(digests, str(mark["by"]), datetime.fromisoformat(mark["at"]), str(mark["reason"]))
        except NotFound:
            return None
        except (TooLarge, ValueError, KeyError, TypeError, DigestInvalid):
            # Whatever has become of it, its key says what is blocked.
            return Block((digest,), "", datetime.fromtimestamp(0, UTC), "the mark cannot be read")
