"""What a bucket, its store and our rights in it must be able to do, found out by trying."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from uuid import uuid4

from storage.errors import AlreadyExists, StorageError, Unavailable
from storage.findings import Finding, UnsuitableStore
from storage.keys import TEMPORARY_PREFIX
from storage.s3 import listing, reading, removal
from storage.s3.copying import copy
from storage.s3.direct import Direct
from storage.s3.errors import Conflict
from storage.s3.lanes import Lane
from storage.s3.uploads import PartsUpload
from storage.s3.writing import putting

_ROUNDS = 4
_RACERS = 16
# S3 refuses requests of those whose clock differs by 15 minutes from its own; a clock that drifts gets there.
_SKEW_SECONDS = 300.0
_LIMIT = 64


class Trial:
    """Tries out a bucket both ways in which the driver asks, below a prefix of its own, and tidies up.

    `read_only` tries nothing that would write.
    """

    def __init__(
        self, metadata: Direct, bodies: Lane, now: Callable[[], datetime], *, read_only: bool = False
    ) -> None:
        self._metadata = metadata
        self._bodies = bodies
        self._now = now
        self._read_only = read_only
        self._prefix = f"{TEMPORARY_PREFIX}trial/{uuid4()}"
        self._made: list[str] = []

    async def run(self) -> list[Finding]:
        """All that was found; a right that is missing makes no difference to what is tried after it.

        Where nothing answers, or there is no such bucket, only that is told.
        """
        try:
            found = [Finding("list and clock", True, await self._list())]
        except StorageError as error:
            found = [Finding("list and clock", False, error.message)]
            if isinstance(error, Unavailable):
                return found
        if self._read_only:
            return found
        try:
            for what, step in (
                ("put, get and head", self._put),
                ("put if absent, raced", self._race),
                ("upload in parts", self._parts),
                ("list unfinished uploads", self._uploads),
                ("copy", self._copy),
            ):
                found.append(await self._tried(what, step))
        finally:
            found.append(await self._tried("delete", self._delete))
        return found

    async def _tried(self, what: str, step: Callable[[], Awaitable[str]]) -> Finding:
        try:
            return Finding(what, True, await step())
        except StorageError as error:
            return Finding(what, False, error.message)

    async def _list(self) -> str:
        told = (await listing.ask(self._metadata, "", 1)).date
        if told is None:
            return "the store tells no time"
        skew = abs((parsedate_to_datetime(told).astimezone(UTC) - self._now()).total_seconds())
        if skew > _SKEW_SECONDS:
            raise UnsuitableStore(
                f"this machine's clock and the store's differ by {skew:.0f} s, and requests from clocks that"
                " differ too much are refused; set it right (NTP)"
            )
        return f"the clocks differ by {skew:.0f} s"

    async def _put(self) -> str:
        key = self._key("put")
        await self._metadata.ask(putting(self._metadata.options, key, b"tried", if_absent=False))
        if await reading.get(self._metadata, key, _LIMIT) != b"tried":
            raise UnsuitableStore("what was put does not read the same at once")
        await reading.stat(self._metadata, key)
        return "what was put is read at once"

    async def _race(self) -> str:
        for number in range(1, _ROUNDS + 1):
            await self._raced(number)
        return f"one winner of {_RACERS} in each of {_ROUNDS} rounds, read and listed at once"

    async def _raced(self, number: int) -> None:
        key = self._key(f"race/{number}")
        all_data = [f"{racer} {uuid4()}".encode() for racer in range(_RACERS)]
        outcomes = await asyncio.gather(
            *(self._claim(key, data) for data in all_data), return_exceptions=True
        )
        winners = [data for data, one in zip(all_data, outcomes, strict=True) if one is None]
        for one in outcomes:
            if one is not None and not isinstance(one, AlreadyExists | Conflict):
                raise one
        if len(winners) != 1:
            raise UnsuitableStore(
                f"of {_RACERS} writers that put an object only where there is none (If-None-Match: *),"
                f" {len(winners)} were told that they had: the store has no such conditions, and two pushes"
                " could not be told apart; use one that has them"
            )
        if await reading.get(self._metadata, key, _LIMIT) != winners[0]:
            raise UnsuitableStore("the object is not that of the writer who was told to have put it")
        above, _, name = key.rpartition("/")
        if name not in await listing.children(self._metadata, above, "", None):
            raise UnsuitableStore("an object that was put is not listed at once")

    async def _claim(self, key: str, data: bytes) -> None:
        await self._bodies.direct.once(putting(self._bodies.options, key, data, if_absent=True))

    async def _parts(self) -> str:
        upload = PartsUpload(self._bodies, self._key("parts"))
        try:
            await upload.begin()
            await upload.put_part(1, b"tried")
            await upload.complete()
        finally:
            await self._bodies.threads.run_always(upload.abort)
        aborted = PartsUpload(self._bodies, self._key("aborted"))
        await aborted.begin()
        await self._bodies.once("", aborted.abort_told)
        return "completed, and aborted"

    async def _uploads(self) -> str:
        bucket = self._bodies.options.bucket
        await self._bodies.run(
            "", lambda: self._bodies.client.list_multipart_uploads(Bucket=bucket, MaxUploads=1)
        )
        return "so that they can be found and aborted"

    async def _copy(self) -> str:
        await copy(self._bodies.direct, self._key("copy"), f"{self._prefix}/put")
        return "within the store"

    async def _delete(self) -> str:
        names = list(dict.fromkeys(self._made))
        await removal.delete(self._metadata, names)
        return f"{len(names)} at once"

    def _key(self, name: str) -> str:
        self._made.append(f"{self._prefix}/{name}")
        return self._made[-1]
