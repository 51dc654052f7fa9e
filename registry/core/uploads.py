"""Blob uploads: begun, continued, closed, by any process at any step (dist-spec: Pushing blobs)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from registry.core.blobs import Blobs
from registry.core.bodies import Body, Renewed, exactly
from registry.core.census import Census
from registry.core.quotas import Quotas
from registry.errors import (
    BlobUnknown,
    BlobUploadInvalid,
    BlobUploadUnknown,
    Denied,
    DigestInvalid,
    RangeInvalid,
    SizeInvalid,
    TooManyRequests,
)
from registry.model.digests import Digest, DigestCheck, Hashing
from registry.model.names import RepositoryName
from registry.model.ranges import ByteRange
from registry.store.sessions import Chunk, Commit, Session
from registry.store.store import Store
from storage.errors import NotFound

_REMEMBERED = 10_000


class ChunkOutOfOrder(RangeInvalid):
    """The piece does not begin where the upload ends; the session lives on (dist-spec: 416)."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__(
            f"the upload has {size_bytes} bytes, so the next piece begins at byte {size_bytes}",
            detail={"size": size_bytes},
        )
        self.size_bytes = size_bytes


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """Bounds: sessions, pieces of one session, and bodies received at once by this process."""

    open: int
    chunks: int
    in_flight: int


class Uploads:
    """The uploads of all repositories."""

    def __init__(
        self,
        store: Store,
        blobs: Blobs,
        quotas: Quotas,
        limits: UploadLimits,
        require_writable: Callable[[], None],
    ) -> None:
        self._store = store
        self._sessions = store.sessions
        self._blobs = blobs
        self._quotas = quotas
        self._limits = limits
        self._require_writable = require_writable
        self.census = Census(store.sessions, store.effects, limits.open)
        self._in_flight = 0
        self._hashed: OrderedDict[tuple[str, str], Digest] = OrderedDict()

    async def begin(self, name: RepositoryName, algorithm: str) -> Session:
        """Begin a session; `algorithm` is what the client says its digest will be of.

        Raises DigestInvalid, TooManyRequests, QuotaExceeded.
        """
        Digest.of(b"", algorithm).require_supported()
        await self._quotas.require(name, 1)
        await self.census.enter()
        return await self._sessions.create(name, algorithm)

    async def size(self, name: RepositoryName, uuid: str) -> int:
        """How many bytes the upload has. Raises BlobUploadUnknown."""
        session = await self._sessions.get(name, uuid)
        return (await self._end(session))[1]

    async def append(self, name: RepositoryName, uuid: str, body: Body, piece: ByteRange | None) -> int:
        """Append a body, of which `piece` names the place if the client said it; the size then.

        A connection that breaks leaves what arrived.

        Raises BlobUploadUnknown, ChunkOutOfOrder, BlobUploadInvalid, SizeInvalid, TooManyRequests,
        QuotaExceeded.
        """
        session = await self._sessions.get(name, uuid)
        return await self._append(session, body, piece)

    async def finish(
        self, name: RepositoryName, uuid: str, digest: Digest, body: Body, piece: ByteRange | None
    ) -> None:
        """Close an upload, with a last piece in `body` or none: the repository has the blob then.

        Repeated after an answer was lost it succeeds again. An upload of what is blocked is dropped.

        Raises BlobUploadUnknown, BlobUploadInvalid, ChunkOutOfOrder, Denied, DigestInvalid, SizeInvalid,
        TooManyRequests, QuotaExceeded.
        """
        digest.require_supported()
        try:
            self._store.blocked.refuse([digest])
        except Denied:
            with suppress(BlobUploadUnknown):
                await self.cancel(name, uuid)
            raise
        try:
            await self._finish(await self._sessions.get(name, uuid), digest, body, piece)
        except (BlobUploadUnknown, ChunkOutOfOrder, DigestInvalid):
            # The same request may have come before, and have finished by now.
            if not await self._finished_before(name, uuid, digest):
                raise

    async def monolithic(self, name: RepositoryName, digest: Digest, body: Body) -> None:
        """Take a whole blob in one request (dist-spec: Single POST).

        Raises DigestInvalid, Denied, QuotaExceeded.
        """
        self._store.blocked.refuse([digest])
        await self._receive(name, digest.require_supported(), body, None)

    async def cancel(self, name: RepositoryName, uuid: str) -> None:
        """End a session and forget its bytes. Raises BlobUploadUnknown."""
        await self._sessions.get(name, uuid)
        await self._drop(uuid)

    async def _finish(self, session: Session, digest: Digest, body: Body, piece: ByteRange | None) -> None:
        if await self._went_on(session, digest):
            return
        if piece is not None or body.length != 0:
            count, _ = await self._end(session)
            if count == 0 and body.length != 0 and (piece is None or piece.start == 0):
                await self._receive(session.repository, digest, self._renewing(session, body), piece)
                await self._drop(session.uuid)
                return
            try:
                await self._append(session, body, piece, closing=digest)
            except ChunkOutOfOrder as error:
                # The same request may have come before and have left its piece there.
                if piece is not None and piece.end != error.size_bytes:
                    raise
                try:
                    await self._close(session, digest)
                except DigestInvalid:
                    raise error from None
                return
        await self._close(session, digest)

    async def _receive(
        self, name: RepositoryName, digest: Digest, body: Body, piece: ByteRange | None
    ) -> None:
        """Stream a body straight to the blob's place."""
        self._expect(body, piece)
        body = await self._quotas.bounded(name, body, 0, digest)
        self._enter()
        try:
            chunks = exactly(body, piece.end - piece.start if piece else None)
            await self._store.content.write(digest, chunks, DigestCheck(digest))
        finally:
            self._in_flight -= 1
        self._require_writable()
        await self._blobs.link(name, digest)

    async def _append(
        self, session: Session, body: Body, piece: ByteRange | None, *, closing: Digest | None = None
    ) -> int:
        count, size = await self._end(session)
        if piece is not None and piece.start != size:
            raise ChunkOutOfOrder(size)
        self._expect(body, piece)
        if body.length == 0:
            return size
        # The closing piece may be one more, not one more with each closing PUT that fails.
        if count >= self._limits.chunks + (closing is not None):
            raise BlobUploadInvalid(
                f"the upload has {count} pieces already: send the rest in the closing PUT, or begin again"
                " with larger pieces"
            )
        body = await self._quotas.bounded(session.repository, body, size, closing)
        algorithms = ("sha256",) if session.algorithm == "sha256" else ("sha256", session.algorithm)
        check = Hashing(*algorithms)
        self._enter()
        try:
            renewing = self._renewing(session, body)
            chunks = exactly(renewing, piece.end - piece.start if piece else None)
            key, written = await self._sessions.write(session, chunks, check)
        finally:
            self._in_flight -= 1
        if written == 0:
            await self._sessions.discard(key)
            return size
        digests = tuple(check.digest(algorithm) for algorithm in algorithms)
        if closing is not None and await self._is_repeated(session, digests, closing):
            await self._sessions.discard(key)
            return size
        chunk = Chunk(size, written, key, digests, self._store.driver.epoch)
        if not await self._sessions.commit_chunk(session, chunk):
            await self._sessions.discard(key)
            raise ChunkOutOfOrder((await self._end(session))[1])
        try:
            await self._sessions.get(session.repository, session.uuid)
        except BlobUploadUnknown:
            # Cancelled, closed or expired while the piece came in.
            await self._sessions.drop(session.uuid)
            raise
        return chunk.end

    async def _close(self, session: Session, digest: Digest) -> None:
        chunks = await self._sessions.chunks(session)
        found = await self._digest(chunks, digest.algorithm)
        if found != digest:
            # The same closing PUT may be under way elsewhere: it has noted what it proved before it moves.
            if await self._went_on(session, digest):
                return
            commit = await self._sessions.commit(session)
            size = chunks[-1].end if chunks else 0
            if found is None or (commit and commit.digest == digest and size < commit.size_bytes):
                # It had that digest once, and a power cut took some of it.
                raise _gone(session)
            raise DigestInvalid(
                f"the upload's content has the digest {found}, not {digest}",
                detail={"digest": str(digest), "content": str(found)},
            )
        commit = Commit(digest, chunks[-1].end if chunks else 0, self._store.driver.epoch)
        if len(chunks) > 1:
            # Of a single chunk its own record says as much.
            await self._sessions.put_commit(session, commit)
        await self._commit(session, commit, [chunk.key for chunk in chunks])

    async def _digest(self, chunks: list[Chunk], algorithm: str) -> Digest | None:
        if not chunks:
            return Digest.of(b"", algorithm)
        if len(chunks) == 1:
            for digest in chunks[0].digests:
                if digest.algorithm == algorithm:
                    return digest
        # Committed chunks never change, and each stands on those before it: a closing PUT with a wrong
        # digest, repeated for ever, is not to read them each time.
        content = (chunks[-1].key, algorithm)
        if content not in self._hashed:
            try:
                found = await self._store.content.hash([chunk.key for chunk in chunks], algorithm)
            except NotFound:
                # Somebody else has moved or dropped the chunks meanwhile.
                return None
            self._hashed[content] = found
            if len(self._hashed) > _REMEMBERED:
                self._hashed.popitem(last=False)
        return self._hashed[content]

    async def _is_repeated(self, session: Session, piece: tuple[Digest, ...], digest: Digest) -> bool:
        """Whether the upload ends with this piece already and has the digest that it is to be closed with."""
        _, last = await self._sessions.last(session)
        if last is None or last.digests != piece:
            return False
        return await self._digest(await self._sessions.chunks(session), digest.algorithm) == digest

    async def _went_on(self, session: Session, digest: Digest) -> bool:
        """Finish what an earlier closing PUT proved and did not finish; False when there is no such thing.

        Raises DigestInvalid when the upload was closed as another, BlobUploadUnknown when its bytes are gone.
        """
        commit = await self._sessions.commit(session)
        if commit is None:
            return False
        if not self._sessions.is_current(commit):
            # A power cut may have torn the chunks since: only what lies in its place and is sound counts.
            if commit.digest != digest or not await self._lies_sound(digest):
                return False
            await self._linked(session, commit)
            return True
        if commit.digest != digest:
            raise DigestInvalid(
                f"the upload was closed as {commit.digest}, not {digest}",
                detail={"digest": str(digest), "content": str(commit.digest)},
            )
        # A piece that came behind what was proved is no part of it.
        chunks = [chunk for chunk in await self._sessions.chunks(session) if chunk.end <= commit.size_bytes]
        if (chunks[-1].end if chunks else 0) == commit.size_bytes:
            await self._commit(session, commit, [chunk.key for chunk in chunks])
        elif await self._lies_sound(digest):
            # The chunks have moved already.
            await self._linked(session, commit)
        else:
            raise _gone(session)
        return True

    async def _lies_sound(self, digest: Digest) -> bool:
        try:
            return await self._store.content.is_sound(digest)
        except NotFound:
            return False

    async def _commit(self, session: Session, commit: Commit, keys: list[str]) -> None:
        try:
            await self._store.content.compose(commit.digest, keys, size=commit.size_bytes)
        except NotFound:
            raise _gone(session) from None
        await self._linked(session, commit)

    async def _linked(self, session: Session, commit: Commit) -> None:
        self._require_writable()
        await self._blobs.link(session.repository, commit.digest)
        await self._drop(session.uuid)

    async def _drop(self, uuid: str) -> None:
        await self._sessions.drop(uuid)
        self.census.leave()

    async def _finished_before(self, name: RepositoryName, uuid: str, digest: Digest) -> bool:
        """Whether the session has ended and the repository has the blob."""
        try:
            await self._sessions.get(name, uuid)
        except BlobUploadUnknown:
            try:
                await self._blobs.stat(name, digest)
            except BlobUnknown:
                return False
            return True
        return False

    async def _end(self, session: Session) -> tuple[int, int]:
        """How many pieces the upload has, and how many bytes."""
        count, last = await self._sessions.last(session)
        if last is not None and self._sessions.is_current(last):
            return count, last.end
        if count == 0:
            return 0, 0
        chunks = await self._sessions.chunks(session)
        return len(chunks), chunks[-1].end if chunks else 0

    def _renewing(self, session: Session, body: Body) -> Body:
        """The body; while it comes in, the session is kept from expiring."""
        return Renewed(body, self._store.effects.now, lambda: self._sessions.renew(session))

    def _expect(self, body: Body, piece: ByteRange | None) -> None:
        if piece is not None and body.length is not None and body.length != piece.end - piece.start:
            raise SizeInvalid(
                f"Content-Length is {body.length} and Content-Range names {piece.end - piece.start} bytes"
            )

    def _enter(self) -> None:
        if self._in_flight >= self._limits.in_flight:
            raise TooManyRequests(
                f"{self._in_flight} uploads are being received already", headers={"Retry-After": "5"}
            )
        self._in_flight += 1


def _gone(session: Session) -> BlobUploadUnknown:
    return BlobUploadUnknown(
        "the upload's bytes are gone; start again with POST", detail={"uuid": session.uuid}
    )
