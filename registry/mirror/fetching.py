"""Fetching a blob: by one process of all that want it, into the store, from where the last one ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from registry.core.registry import Registry, Repository
from registry.errors import BlobUnknown, Unavailable
from registry.mirror.transfer import Transfer
from registry.mirror.upstreams import Upstreams
from registry.model.digests import Digest
from registry.model.names import RepositoryName
from registry.remote.errors import UpstreamError
from registry.remote.upstream import RemoteBlob
from registry.work.leases import Lease, LeaseLost
from storage.errors import NotFound, OutOfSpace
from storage.sharing import Share

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
_MEMORY = 64 << 20
_LEAST_MEMORY = 128 << 10
_TRIES = 3  # in a row that bring less than
_SOME = 1 << 20
_PAUSE_SECONDS = 0.25
# Failures behind which the next request for the same bytes may be answered.
_PASSING = ("unreachable", "slow", "failing")


def transfer_memory() -> Share:
    """What all transfers of a process have together for what is not in the store yet."""
    return Share(_MEMORY, least=_LEAST_MEMORY, most=2 * _SEGMENT)


class Fetching:
    """How one process fetches blobs into a namespace, or follows another that does.

    `name_there` is what the upstreams call a repository; `who` tells other processes who holds the lease;
    `memory` is what all of a process have for what is not in the store yet; `came` hears of bytes that come.
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
        memory: Share,
        came: Callable[[int], None],
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
        self._memory = memory
        self._came = came
        self._pace = Pace(bytes_per_second, clock, sleep)

    async def bring(self, transfer: Transfer) -> None:
        """Have the blob in the store and in the transfer's repositories: those of which the upstreams say
        that they have it.

        Raises UpstreamError, and errors of the registry and of its storage.
        """
        self._registry.require_writable()
        self._store.blocked.refuse([transfer.digest])
        lease = Lease(
            self._store.driver,
            self._store.effects,
            lease_name(self._namespace, transfer.digest),
            who=self._who,
            seconds=_LEASE_SECONDS,
            clock=self._clock,
        )
        try:
            while not await self._is_here(transfer):
                if not await lease.acquire():
                    await self._follow(transfer)
                    continue
                try:
                    # Whoever had it before may have done it all.
                    if not await self._is_here(transfer):
                        async with lease.kept() as step:
                            await self._fetch(transfer, step)
                finally:
                    await lease.end()
        except (LeaseLost, NotFound) as error:
            # Readers have had bytes that whoever goes on with it may not get.
            raise _begun_anew(transfer.digest) from error
        await self._has_it(transfer)
        given: set[RepositoryName] = set()
        while more := transfer.repositories - given:
            for repository in more:
                await self._give(repository, transfer.digest)
            given |= more
        if transfer.size_bytes is None:
            transfer.sized((await self._store.content.stat(transfer.digest)).size_bytes)
        transfer.finish()

    async def _is_here(self, transfer: Transfer) -> bool:
        """Whether the bytes lie in the store, and came from where the namespace's content comes from.

        Raises Unavailable where they came by another way than what this one has had of them.
        """
        began = await self._store.transfers.marked(self._namespace, transfer.digest)
        if began is None:
            return False
        try:
            await self._store.content.stat(transfer.digest)
        except NotFound:
            return False
        if transfer.segments and transfer.segments[0].name != began:
            raise _begun_anew(transfer.digest)
        return True

    async def _has_it(self, transfer: Transfer) -> None:
        """Make sure that the upstreams have it in the repository for which it is asked.

        What others have brought of it may be from another one, which whoever asks must not see.
        """
        if transfer.name not in transfer.repositories:
            there = self._name_there(transfer.name)
            await self._upstreams.ask(lambda one: one.head_blob(there, transfer.digest))
            transfer.repositories.add(transfer.name)

    async def _follow(self, transfer: Transfer) -> None:
        """Take what another process has brought meanwhile."""
        if await self._go_on(transfer):
            await self._sleep(_LOOK_SECONDS)
        elif not await self._is_here(transfer):
            raise _begun_anew(transfer.digest)

    async def _go_on(self, transfer: Transfer) -> bool:
        """Take what others have brought; False where that does not follow what was had of it before."""
        progress = await self._store.transfers.look(self._namespace, transfer.digest)
        if not progress.goes_on_from(transfer.segments):
            return False
        if progress.size_bytes is not None:
            await self._has_it(transfer)
            transfer.sized(progress.size_bytes)
            transfer.stored(progress.segments)
        return True

    async def _fetch(self, transfer: Transfer, step: Step) -> None:
        """Get what is missing, prove the whole, and put it in its place."""
        if not await self._go_on(transfer):
            raise _begun_anew(transfer.digest)
        is_resumed = bool(transfer.segments)
        hasher = transfer.digest.hasher()
        for segment in transfer.segments:
            async with self._store.transfers.open(segment, segment.start, segment.end) as opened:
                async for piece in opened.chunks():
                    await self._store.effects.aside(hasher.update, piece)
            await step()
        try:
            with self._memory:
                await self._get(transfer, step, hasher)
            found = Digest(transfer.digest.algorithm, hasher.hexdigest())
            if found != transfer.digest:
                # What was there before came from any of them.
                givers = self._upstreams.each if is_resumed else transfer.givers
                reason = f"what it gave for the blob {transfer.digest} is {found}"
                raise self._upstreams.lied_about(transfer.digest, givers, reason)
            # Before it is there, so that who has followed it knows at once that it is the same.
            first = transfer.segments[0] if transfer.segments else None
            await self._store.transfers.mark(self._namespace, transfer.digest, first)
            keys = [segment.key for segment in transfer.segments]
            await self._door(transfer.name).keep_blob(transfer.digest, keys, transfer.kept)
        except (UpstreamError, OutOfSpace) as error:
            if isinstance(error, OutOfSpace) or error.cause == "lying":
                # Nobody goes on with a lie, and what does not fit is not to keep out what would.
                await self._store.transfers.drop(self._namespace, transfer.digest)
            raise
        await self._store.transfers.drop(self._namespace, transfer.digest)

    async def _get(self, transfer: Transfer, step: Step, hasher: _Hash) -> None:
        """Get the rest of it, beginning again where a connection broke."""
        there = self._name_there(transfer.name)
        tries = lies = 0
        while transfer.size_bytes is None or transfer.kept < transfer.size_bytes:
            before = transfer.kept
            try:
                async with self._upstreams.blob(there, transfer.digest, before) as (giver, blob):
                    transfer.repositories.add(transfer.name)
                    known = transfer.size_bytes
                    if known is not None and blob.size_bytes != known:
                        reason = f"{transfer.digest} had {known} bytes, and now has {blob.size_bytes}"
                        raise UpstreamError(giver.host, reason, "lying")
                    await self._registry.quotas.require(transfer.name, blob.size_bytes, transfer.digest)
                    transfer.sized(blob.size_bytes)
                    if giver not in transfer.givers:
                        transfer.givers.append(giver)
                    await self._store_all(transfer, blob, step, hasher)
            except UpstreamError as error:
                # A few bytes each time would go on for ever, and slowly it would take long enough twice.
                tries = 0 if transfer.kept - before >= _SOME else tries + (2 if error.cause == "slow" else 1)
                lies += error.cause == "lying"
                # What one says that contradicts another, the others may not say.
                others = error.cause == "lying" and lies < len(self._upstreams.each)
                if not (others or error.cause in _PASSING) or transfer.size_bytes is None or tries >= _TRIES:
                    raise
                await self._sleep(_PAUSE_SECONDS * 2**tries)

    async def _store_all(self, transfer: Transfer, blob: RemoteBlob, step: Step, hasher: _Hash) -> None:
        """Take what comes, a segment being stored while the next one is gathered."""
        storing: asyncio.Task[None] | None = None
        start = transfer.kept

        async def store() -> None:
            nonlocal storing, start
            if storing is not None:
                await storing
                storing = None
            if transfer.end > start:
                storing = asyncio.create_task(self._keep(transfer, (start, transfer.end), hasher))
                start = transfer.end

        try:
            async for piece in blob.chunks():
                transfer.grow(piece)
                self._came(len(piece))
                await step()
                await self._pace.take(len(piece))
                if transfer.end - start >= self._segment_bytes(start):
                    await store()
        finally:
            # What came before a connection broke need not come again.
            with suppress(asyncio.CancelledError):
                await store()
                await store()

    async def _keep(self, transfer: Transfer, place: tuple[int, int], hasher: _Hash) -> None:
        assert transfer.size_bytes is not None
        segment = await self._store.transfers.write(
            self._namespace,
            transfer.digest,
            place,
            transfer.size_bytes,
            transfer.tail(*place),
            Hashed(hasher),
        )
        transfer.stored([segment])

    def _segment_bytes(self, start: int) -> int:
        """How much is gathered: two segments of each transfer are in memory."""
        return min(_SEGMENT if start else _FIRST_SEGMENT, self._memory.bytes // 2)

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


def lease_name(namespace: RepositoryName, digest: Digest) -> str:
    """Who fetches a blob into a namespace: what others have of the same content is not waited for."""
    return f"{TRANSFER}{segment(namespace)}-{digest.algorithm}-{digest.encoded}"


def segment(namespace: RepositoryName) -> str:
    """The name of a namespace as a part of one segment of a key."""
    # No name has a capital letter.
    return namespace.replace("/", "I")


def _begun_anew(digest: Digest) -> Unavailable:
    return Unavailable(
        f"another server has taken over the transfer of {digest}, or has begun it anew; try again",
        headers={"Retry-After": "1"},
    )
