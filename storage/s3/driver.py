"""Objects of a bucket, by requests of boto3 in threads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from storage.contract import Check, Driver, ObjectInfo, Presigner
from storage.errors import Forbidden, NotFound, StorageError, TooLarge, Unavailable
from storage.findings import Finding
from storage.keys import TEMPORARY_PREFIX, validate, validate_prefix
from storage.s3 import listing, reading, writing
from storage.s3.clients import Lane, make_clients
from storage.s3.connections import Connections
from storage.s3.errors import Doubtful
from storage.s3.joining import Joining
from storage.s3.options import S3Options
from storage.s3.room import Room
from storage.s3.streaming import Stream
from storage.s3.trial import Trial
from storage.s3.uploads import sweep
from storage.sharing import Share

# As on a disk: what bodies take of memory beside the parts of uploads; the fewer they are, the larger pieces.
_GATHERED_BYTES = 16 << 20
_READ_BYTES = 16 << 20
_LEAST_BYTES = 32 << 10
_PIECE_BYTES = 1 << 20
_A_DELETE = 1000  # keys (S3: DeleteObjects)
_LONGEST_NAME = 1024  # bytes (S3: object key names)
_UNFINISHED_SECONDS = 24 * 3600
_PRESIGNED = {"GET": "get_object", "HEAD": "head_object"}


class S3Driver(Driver, Presigner):
    """Keeps each object under its key in a bucket, below `options.prefix`; any number of processes may.

    Whatever S3 has acknowledged is durable. So `durable=False` has nothing to spare, and the epoch is always
    the same. That no key is a path prefix of another is left to the callers: to see it would take a request
    for each segment of a key. `now` is the wall clock, for the age of what a crash left.
    Call `start` before the first use and `aclose` after the last.
    """

    def __init__(
        self,
        options: S3Options,
        *,
        read_only: bool = False,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.read_only = read_only
        self._options = options
        self._now = now
        self._gathering = Share(_GATHERED_BYTES, least=_LEAST_BYTES, most=_PIECE_BYTES)
        self._reading = Share(_READ_BYTES, least=_LEAST_BYTES, most=_PIECE_BYTES)
        self._connections = Connections(options.max_connections, options.connect_timeout_seconds)
        self._lanes: list[Lane] = []
        self._room = Room(
            options.part_buffer_bytes, options.least_part_bytes + _PIECE_BYTES, options.read_timeout_seconds
        )

    @property
    def slow_reads(self) -> int:
        """None: no read holds the event loop."""
        return 0

    def place(self, prefix: str) -> str | None:
        """What tells what lies below `prefix` from a copy in another bucket."""
        return f"{self._options.bucket}/{self._metadata.name(prefix)}"

    @property
    def epoch(self) -> str | None:
        """A constant: no power cut takes what the store has acknowledged."""
        return "s3"

    async def start(self) -> None:
        """Make the clients. Raises Unavailable, naming the setting that cannot be used."""
        options = self._options
        count = options.max_connections + options.body_threads
        metadata, bodies = await asyncio.to_thread(make_clients, options, options.metadata_threads, count)
        self._public = metadata
        if options.public_endpoint is not None:
            public = replace(options, endpoint=options.public_endpoint)
            (self._public,) = await asyncio.to_thread(make_clients, public, 1)
        self._metadata = Lane(
            metadata,
            options,
            options.metadata_threads,
            setting="metadata_threads",
            patience_seconds=options.connect_timeout_seconds,
        )
        # A part that is sent or copied may take long.
        self._bodies = Lane(
            bodies,
            options,
            options.body_threads,
            setting="body_threads",
            patience_seconds=options.read_timeout_seconds,
        )
        self._lanes = [self._metadata, self._bodies]
        self._joining = Joining(self._metadata, self._bodies, self._room)

    async def try_out(self) -> list[Finding]:
        """Find out what the store and our rights in it are good for, with some eighty requests."""
        return await Trial(self._metadata, self._bodies, self._now, read_only=self.read_only).run()

    async def presign(self, key: str, method: Literal["GET", "HEAD"], *, lifetime_seconds: int) -> str:
        """A URL of the public endpoint; see `Presigner`. It asks nobody, but for fresh credentials."""
        self._validate(key)
        where = {"Bucket": self._options.bucket, "Key": self._metadata.name(key)}
        url: str = await self._metadata.once(
            key,
            lambda: self._public.generate_presigned_url(
                _PRESIGNED[method], Params=where, ExpiresIn=lifetime_seconds
            ),
        )
        return url

    async def aclose(self) -> None:
        """Wait for the requests under way and close the connections."""
        for lane in self._lanes:
            await lane.aclose()

    async def sweep(self) -> None:
        """Abort what uploads that were cut off a day ago have left; to be called now and then."""
        oldest = self._now() - timedelta(seconds=_UNFINISHED_SECONDS)
        await sweep(self._metadata, oldest)
        old = await self._metadata.run("", lambda: self._left(oldest))
        await self._delete(old)

    async def get(self, key: str, *, limit: int) -> bytes:
        """The whole of a small object: one request."""
        self._validate(key)
        return await self._metadata.run(key, lambda: reading.get(self._metadata, key, limit))

    async def stat(self, key: str) -> ObjectInfo:
        """Size and modified time: one request."""
        self._validate(key)
        return reading.info_of(await self._metadata.call("head_object", key))

    def open(self, key: str, start: int = 0, end: int | None = None) -> reading.OpenBody:
        """Open an object for reading a range: one request, whose answer is read as it is taken."""
        self._validate(key)
        return reading.OpenBody(key, start, end, self._bodies, self._reading, self._connections)

    async def put(
        self,
        key: str,
        data: bytes,
        *,
        if_absent: bool = False,
        durable: bool = True,  # noqa: ARG002 - everything is
    ) -> None:
        """Put a small object: one request."""
        self._validate(key)
        await writing.put(self._metadata, key, data, if_absent=if_absent)

    async def write(
        self,
        key: str,
        chunks: AsyncIterable[bytes],
        *,
        check: Check | None = None,
        if_absent: bool = False,
        durable: bool = True,  # noqa: ARG002 - everything is
    ) -> int:
        """Stream an object: one request when it is smaller than a part, else two more than it has parts."""
        self._validate(key)
        stream = Stream(self._bodies, key, self._room, check, if_absent=if_absent)
        return await stream.write(chunks, self._gathering)

    async def compose(self, key: str, sources: Sequence[str], *, size: int) -> None:
        """Join objects within the store; of a single small one that takes three requests."""
        for one in (key, *sources):
            self._validate(one)
        sizes = await self._joining.sizes(sources)
        try:
            missing = [source for source, found in zip(sources, sizes, strict=True) if found is None]
            if missing:
                raise NotFound(missing[0])
            known = [(source, found or 0) for source, found in zip(sources, sizes, strict=True)]
            total = sum(found for _, found in known)
            if total != size:
                raise Unavailable(key, f"the sources have {total} bytes, not {size}")
            if list(sources) != [key]:
                await self._joining.join(key, known)
        except NotFound:
            # Whoever did the same at the same time, or before, has removed them.
            if await self._joining.sizes([key]) != [size]:
                raise
        await self._delete([source for source in sources if source != key])

    async def copy(self, key: str, source: str) -> None:
        """Copy an object within the store, unless one lies there."""
        for one in (key, source):
            self._validate(one)
        there, size = await self._joining.sizes([key, source])
        if size is None:
            raise NotFound(source)
        if there is None:
            await self._joining.join(key, [(source, size)])

    async def children(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[str]:
        """The immediate names below `prefix`, in byte order."""
        validate_prefix(prefix)
        return await listing.children(self._metadata, prefix, after, limit)

    async def walk(self, prefix: str, *, after: str = "") -> AsyncGenerator[str, None]:
        """Every key below `prefix` greater than `after`, in byte order."""
        validate_prefix(prefix)
        async for key in listing.walk(self._metadata, prefix, after):
            yield key

    async def delete(self, keys: Sequence[str], *, durable: bool = True) -> None:  # noqa: ARG002 - all are
        """Remove objects, a thousand with one request."""
        for key in keys:
            self._validate(key)
        await self._delete(keys)

    async def _delete(self, keys: Sequence[str]) -> None:
        if len(keys) == 1:
            await self._metadata.call("delete_object", keys[0])
            return
        for first in range(0, len(keys), _A_DELETE):
            names = {self._metadata.name(key): key for key in keys[first : first + _A_DELETE]}
            await self._metadata.run("", lambda: self._delete_some(names))  # noqa: B023 - awaited at once

    def _delete_some(self, names: dict[str, str]) -> None:
        answer = self._metadata.client.delete_objects(
            Bucket=self._options.bucket,
            Delete={"Objects": [{"Key": name} for name in names], "Quiet": True},
        )
        for error in answer.get("Errors", ()):
            if error.get("Code") != "NoSuchKey":
                raise _undeleted(names.get(error.get("Key", ""), ""), error)

    def _left(self, oldest: datetime) -> list[str]:
        """The keys of what was joined or tried, and left behind, before then."""
        page = self._metadata.client.list_objects_v2(
            Bucket=self._options.bucket, Prefix=self._metadata.name(TEMPORARY_PREFIX)
        )
        start = len(self._metadata.name(""))
        return [one["Key"][start:] for one in page.get("Contents", ()) if one["LastModified"] < oldest]

    def _validate(self, key: str) -> None:
        validate(key)
        if len(key) + len(self._options.prefix) + 1 > _LONGEST_NAME:
            raise TooLarge(key, f"an object's name in a bucket has {_LONGEST_NAME} bytes at most")


def _undeleted(key: str, error: dict[str, Any]) -> StorageError:
    told = f"the store did not remove the object ({error.get('Code')} {error.get('Message', '')})"
    return (Forbidden if error.get("Code") == "AccessDenied" else Doubtful)(key, told)
