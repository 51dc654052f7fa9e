"""Objects of a bucket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from storage.contract import Check, Driver, ObjectInfo, Presigner
from storage.errors import NotFound, TooLarge, Unavailable
from storage.findings import Finding
from storage.keys import TEMPORARY_PREFIX, validate, validate_prefix
from storage.s3 import listing, reading, removal, writing
from storage.s3.clients import make_client
from storage.s3.connections import Connections
from storage.s3.credentials import make_access
from storage.s3.direct import Direct, Http
from storage.s3.joining import Joining
from storage.s3.lanes import Lane
from storage.s3.options import S3Options
from storage.s3.room import Room
from storage.s3.streaming import Stream
from storage.s3.trial import Trial
from storage.s3.turns import Turns
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
        self._started = False
        self._room = Room(
            options.part_buffer_bytes, options.least_part_bytes + _PIECE_BYTES, options.read_timeout_seconds
        )

    @property
    def slow_reads(self) -> int:
        """None: no read holds the event loop."""
        return 0

    def place(self, prefix: str) -> str | None:
        """What tells what lies below `prefix` from a copy in another bucket."""
        return f"{self._options.bucket}/{self._options.name(prefix)}"

    @property
    def epoch(self) -> str | None:
        """A constant: no power cut takes what the store has acknowledged."""
        return "s3"

    async def start(self) -> None:
        """Make the clients. Raises Unavailable, naming the setting that cannot be used."""
        options = self._options
        self._http, client, self._public = await asyncio.to_thread(_prepared, options)
        self._http.start()
        self._bodies = Lane(client, self._http)
        self._metadata = Direct(
            self._http, Turns(options.metadata_requests, options.connect_timeout_seconds, "metadata_requests")
        )
        self._joining = Joining(self._metadata, self._bodies, self._room)
        self._started = True

    async def try_out(self) -> list[Finding]:
        """Find out what the store and our rights in it are good for, with some eighty requests."""
        return await Trial(self._metadata, self._bodies, self._now, read_only=self.read_only).run()

    async def leading_out(self) -> AsyncIterator[tuple[str, str]]:
        """Nothing: in a bucket no key leads to another."""
        nothing: tuple[tuple[str, str], ...] = ()
        for one in nothing:
            yield one

    async def presign(self, key: str, method: Literal["GET", "HEAD"], *, lifetime_seconds: int) -> str:
        """A URL of the public endpoint; see `Presigner`. It asks nobody, but for fresh credentials."""
        self._validate(key)
        where = {"Bucket": self._options.bucket, "Key": self._options.name(key)}
        url: str = await self._bodies.once(
            key,
            lambda: self._public.generate_presigned_url(
                _PRESIGNED[method], Params=where, ExpiresIn=lifetime_seconds
            ),
        )
        return url

    async def aclose(self) -> None:
        """Wait for the requests under way and close the connections."""
        if self._started:
            self._started = False
            await self._metadata.aclose()
            await self._bodies.aclose()
            await self._http.aclose()

    async def sweep(self) -> None:
        """Abort what uploads that were cut off a day ago have left; to be called now and then."""
        oldest = self._now() - timedelta(seconds=_UNFINISHED_SECONDS)
        await sweep(self._bodies, oldest)
        left = (await listing.ask(self._metadata, TEMPORARY_PREFIX)).objects
        await self._delete([self._options.key(one.name) for one in left if one.modified_at < oldest])

    async def get(self, key: str, *, limit: int) -> bytes:
        """The whole of a small object: one request."""
        self._validate(key)
        return await reading.get(self._metadata, key, limit)

    async def stat(self, key: str) -> ObjectInfo:
        """Size and modified time: one request."""
        self._validate(key)
        return await reading.stat(self._metadata, key)

    def open(self, key: str, start: int = 0, end: int | None = None) -> reading.OpenBody:
        """Open an object for reading a range: one request, whose answer is read as it is taken."""
        self._validate(key)
        return reading.OpenBody(key, start, end, self._bodies.direct, self._reading, self._connections)

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
        for first in range(0, len(keys), _A_DELETE):
            await removal.delete(self._metadata, keys[first : first + _A_DELETE])

    def _validate(self, key: str) -> None:
        validate(key)
        if len(key) + len(self._options.prefix) + 1 > _LONGEST_NAME:
            raise TooLarge(key, f"an object's name in a bucket has {_LONGEST_NAME} bytes at most")


def _prepared(options: S3Options) -> tuple[Http, Any, Any]:
    """What sends requests on the event loop, boto3's client, and one that makes URLs for others."""
    access = make_access(options)
    client = public = make_client(access, options, options.body_threads)
    if options.public_endpoint is not None:
        public = make_client(access, replace(options, endpoint=options.public_endpoint), 1)
    return Http(access, options), client, public
