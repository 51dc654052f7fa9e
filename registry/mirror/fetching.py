"""Fetching a blob: by one process of all that want it, into the store, from where the last one ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from registry.core.registry import Registry, Repository
from registry.errors import BlobUnknown
from registry.mirror.transfer import Transfer
from registry.mirror.upstreams import Upstreams
from registry.model.digests import Digest
from registry.model.names import RepositoryName
from registry.remote.errors import UpstreamError
from registry.remote.upstream import RemoteBlob
from registry.work.leases import Lease, LeaseLost
from storage.errors import NotFound

if TYPE_CHECKING:
    from hashlib import _Hash

Step = Callable[[], Awaitable[None]]

TRANSFER = "transfer-"  # what the names of its leases begin with
# Who fetches and says nothing for so long is taken for dead.
_LEASE_SECONDS = 10.0
_LOOK_SECONDS = 0.25  # between two looks at what another process fetches
# The first segment is small: who waits in other processes gets something to pass on soon.
_FIRST_SEGMENT = 1 << 20
_SEGMENT = 8 << 20
_MEMORY = 64 << 20  # for the segments of all transfers of a process
_TRIES = 3  # in a row without a byte
_PAUSE_SECONDS = 0.5
# Failures behind which the next request for the same bytes may be answered.
_PASSING = ("unreachable", "slow", "failing")


class Fetching:
    """How one process fetches blobs into a namespace, or follows another that does.

    `name_there` is what the upstreams call a repository; `who` tells other processes who holds the lease.
    """

    def __init__(
        self,
        registry: Registry,
        namespace: RepositoryName,
        upstreams: Upstreams,
        name_there: Callable[[RepositoryName], RepositoryName],
        *,
        who: str,
        by: str,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        bytes_per_second: int,
    ) -> None:
        self._registry = registry
        self._store = registry.store
        self._namespace = namespace
        self._upstreams = upstreams
        self._name_there = name_there
        self._who = who
        self._by = by
        self._clock = clock
        self._sleep = sleep
        self._pace = Pace(bytes_per_second, clock, sleep)
        self.under_way = 0

    async def bring(self, transfer: Transfer, name: RepositoryName) -> None:
        """Have the blob, which `name` has at the upstreams, in the store and in the transfer's repositories.

        Raises UpstreamError, and errors of the registry and of its storage.
        """
        self._registry.require_writable()
        self._store.blocked.refuse([transfer.digest])
        lease = Lease(
            self._store.driver,
            self._store.effects,
            f"{TRANSFER}{transfer.digest.algorithm}-{transfer.digest.encoded}",
            who=self._who,
            seconds=_LEASE_SECONDS,
            clock=self._clock,
        )
        while not await self._is_here(transfer.digest):
            if not await lease.acquire():
                progress = await self._store.transfers.look(self._namespace, transfer.digest)
                if progress.size_bytes is not None:
                    transfer.sized(progress.size_bytes)
                transfer.stored(progress.segments)
                await self._sleep(_LOOK_SECONDS)
                continue
            try:
                # Whoever had it before may have done it all.
                if not await self._is_here(transfer.digest):
                    async with lease.kept() as step:
                        await self._fetch(transfer, name, step)
            except LeaseLost:
                continue
            finally:
                await lease.end()
        for repository in transfer.repositories:
            await self._give(repository, transfer.digest)
        if transfer.size_bytes is None:
            transfer.sized((await self._store.content.stat(transfer.digest)).size_bytes)
        transfer.finish()

    async def _is_here(self, digest: Digest) -> bool:
        """Whether the bytes lie in the store, and came from where the namespace's content comes from."""
        if not await self._store.transfers.is_marked(self._namespace, digest):
            return False
        with suppress(NotFound):
            await self._store.content.stat(digest)
            return True
        return False

    async def _fetch(self, transfer: Transfer, name: RepositoryName, step: Step) -> None:
        """Get what is missing, prove the whole, and put it in its place."""
        self.under_way += 1
        try:
            progress = await self._store.transfers.look(self._namespace, transfer.digest)
            transfer.stored(progress.segments)
            hasher = transfer.digest.hasher()
            for segment in transfer.segments:
                async with self._store.transfers.open(segment, segment.start, segment.end) as opened:
                    async for piece in opened.chunks():
                        await self._store.effects.aside(hasher.update, piece)
                await step()
            await self._get(transfer, name, step, hasher)
            found = Digest(transfer.digest.algorithm, hasher.hexdigest())
            if found != transfer.digest:
                raise await self._lied(
                    transfer.digest, f"what it gave for the blob {transfer.digest} is {found}"
                )
            keys = [segment.key for segment in transfer.segments]
            await self._door(name).keep_blob(transfer.digest, keys, transfer.kept)
            await self._store.transfers.mark(self._namespace, transfer.digest)
            await self._store.transfers.drop(self._namespace, transfer.digest)
        finally:
            self.under_way -= 1

    async def _get(self, transfer: Transfer, name: RepositoryName, step: Step, hasher: _Hash) -> None:
        """Get the rest of it, beginning again where a connection broke."""
        tries = 0
        while transfer.size_bytes is None or transfer.kept < transfer.size_bytes:
            before = transfer.kept
            try:
                async with self._upstreams.blob(
                    self._name_there(name), transfer.digest, transfer.kept
                ) as blob:
                    known = transfer.size_bytes
                    if known is not None and blob.size_bytes != known:
                        reason = f"{transfer.digest} had {known} bytes, and now has {blob.size_bytes}"
                        raise await self._lied(transfer.digest, reason)
                    transfer.sized(blob.size_bytes)
                    await self._store_all(transfer, blob, step, hasher)
            except UpstreamError as error:
                tries = 0 if transfer.kept > before else tries + 1
                if error.cause not in _PASSING or transfer.size_bytes is None or tries == _TRIES:
                    raise
                await self._sleep(_PAUSE_SECONDS * 2**tries)

    async def _store_all(self, transfer: Transfer, blob: RemoteBlob, step: Step, hasher: _Hash) -> None:
        """Take what comes, a segment being stored while the next one is gathered."""
        storing: asyncio.Task[None] | None = None
        gathered: list[bytes] = []
        start = transfer.kept

        async def store() -> None:
            nonlocal storing, start, gathered
            if storing is not None:
                await storing
                storing = None
            if gathered:
                end = start + sum(map(len, gathered))
                storing = asyncio.create_task(self._keep(transfer, (start, end), gathered, hasher))
                start, gathered = end, []

        size = 0
        try:
            async for piece in self._pieces(blob):
                transfer.grow(piece)
                gathered.append(piece)
                size += len(piece)
                await step()
                await self._pace.take(len(piece))
                if size >= self._segment_bytes(start):
                    await store()
                    size = 0
        finally:
            # What came before a connection broke need not come again.
            with suppress(asyncio.CancelledError):
                await store()
                await store()

    async def _keep(
        self, transfer: Transfer, place: tuple[int, int], pieces: Sequence[bytes], hasher: _Hash
    ) -> None:
        assert transfer.size_bytes is not None
        segment = await self._store.transfers.write(
            self._namespace,
            transfer.digest,
            place,
            transfer.size_bytes,
            _each(pieces),
            Hashed(hasher),
        )
        transfer.stored([segment])

    async def _pieces(self, blob: RemoteBlob) -> AsyncIterator[bytes]:
        try:
            async for piece in blob.chunks():
                yield piece
        except UpstreamError as error:
            self._upstreams.failed(error)
            raise

    async def _lied(self, digest: Digest, reason: str) -> UpstreamError:
        """Keep nothing of it, and what to say of that: which of several upstreams it was cannot be told."""
        await self._store.transfers.drop(self._namespace, digest)
        hosts = ", ".join(upstream.host for upstream in self._upstreams.each)
        error = UpstreamError(hosts, reason, "lying")
        self._upstreams.failed(error)
        return error

    def _segment_bytes(self, start: int) -> int:
        """How much is gathered: two segments of each transfer are in memory."""
        return min(_SEGMENT if start else _FIRST_SEGMENT, _MEMORY // (2 * max(1, self.under_way)))

    async def _give(self, name: RepositoryName, digest: Digest) -> None:
        """Let a repository have it, unless it has."""
        try:
            await self._door(name).blob(digest, may_push=False)
        except BlobUnknown:
            await self._door(name).share_blob(digest)

    def _door(self, name: RepositoryName) -> Repository:
        return self._registry.repository(name, self._by)


class Pace:
    """So many bytes a second for all transfers together; 0 for no limit."""

    def __init__(
        self,
        bytes_per_second: int,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._rate = bytes_per_second
        self._clock = clock
        self._sleep = sleep
        self._free_at = 0.0

    async def take(self, size_bytes: int) -> None:
        """Wait until so many bytes may have come."""
        if self._rate:
            now = self._clock()
            self._free_at = max(now, self._free_at) + size_bytes / self._rate
            await self._sleep(self._free_at - now)


class Hashed:
    """Adds what is written to a hash that goes on from one segment to the next."""

    def __init__(self, hasher: _Hash) -> None:
        self.update = hasher.update

    def finish(self) -> None:
        """There is more to come."""


async def _each(pieces: Sequence[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
