"""Upload sessions as they lie in the store: chunks, and the records that commit them.

A chunk's bytes lie under a random key; the record `chunk-<offset>` put with `if_absent` commits it, so that
of two writers at one offset exactly one wins and the other's bytes were never there. Nothing of a session
needs to survive a power cut, so a record of an earlier epoch is believed only after its chunk was hashed.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterable
from dataclasses import dataclass

from registry.errors import BlobUploadUnknown, DigestInvalid, NameInvalid
from registry.model.digests import Digest
from registry.model.names import RepositoryName
from registry.store import layout
from registry.store.effects import Effects
from storage.contract import Check, Driver
from storage.errors import AlreadyExists, NotFound

_LIMIT = 4096  # bytes of a record


@dataclass(frozen=True, slots=True)
class Session:
    """An upload that was begun: where, and which digest algorithm the client announced."""

    uuid: str
    repository: RepositoryName
    algorithm: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """A committed piece of an upload: `size_bytes` at `offset`, lying under `key`, with its own digests."""

    offset: int
    size_bytes: int
    key: str
    digests: tuple[Digest, ...]
    epoch: str | None

    @property
    def end(self) -> int:
        """One behind the last byte."""
        return self.offset + self.size_bytes


@dataclass(frozen=True, slots=True)
class Commit:
    """What a closing PUT has proved: the whole upload had this digest and size in that epoch."""

    digest: Digest
    size_bytes: int
    epoch: str | None


class Sessions:
    """The upload sessions of one store."""

    def __init__(self, driver: Driver, effects: Effects) -> None:
        self._driver = driver
        self._effects = effects

    async def create(self, name: RepositoryName, algorithm: str) -> Session:
        """Begin a session."""
        session = Session(self._effects.unique(), name, algorithm)
        record = {
            "repository": name,
            "algorithm": algorithm,
            "started_at": self._effects.now().isoformat(),
        }
        key = f"{layout.upload(session.uuid)}/session"
        await self._driver.put(key, json.dumps(record).encode(), durable=False)
        return session

    async def get(self, name: RepositoryName, uuid: str) -> Session:
        """The session, in its own repository only. Raises BlobUploadUnknown."""
        unknown = BlobUploadUnknown(detail={"name": name, "uuid": uuid})
        try:
            record = json.loads(await self._driver.get(f"{layout.upload(uuid)}/session", limit=_LIMIT))
            session = Session(uuid, RepositoryName(record["repository"]), str(record["algorithm"]))
        except (NotFound, NameInvalid, ValueError, KeyError, TypeError):
            raise unknown from None
        if session.repository != name:
            raise unknown
        return session

    async def renew(self, session: Session) -> None:
        """Let the session count as used just now. One that is gone stays gone."""
        # A record of its own: to write `session` again could bring one back that was dropped a moment before.
        await self._driver.put(f"{layout.upload(session.uuid)}/renewed", b"{}", durable=False)

    async def write(self, session: Session, chunks: AsyncIterable[bytes], check: Check) -> tuple[str, int]:
        """Store the bytes of a chunk that no record names yet; its key and size in bytes."""
        key = layout.upload_data(session.uuid, self._effects.unique())
        return key, await self._driver.write(key, chunks, check=check, durable=False)

    async def commit_chunk(self, session: Session, chunk: Chunk) -> bool:
        """Let the chunk be the one at its offset; False when another was faster."""
        try:
            await self._driver.put(
                layout.upload_chunk(session.uuid, chunk.offset), _record(chunk), if_absent=True, durable=False
            )
        except AlreadyExists:
            return False
        return True

    async def discard(self, key: str) -> None:
        """Remove bytes that no record will name."""
        await self._driver.delete([key], durable=False)

    async def last(self, session: Session) -> tuple[int, Chunk | None]:
        """How many chunks there are, and the last of them, when its epoch vouches for all before it too.

        A chunk is committed only behind a verified one, so a last record of this epoch means that all are
        sound; otherwise the caller reads `chunks`.
        """
        names = await self._records(session)
        if not names:
            return 0, None
        return len(names), await self._chunk(session, names[-1])

    async def chunks(self, session: Session) -> list[Chunk]:
        """The chunks that are sound and follow each other from offset 0, verified where need be.

        A record whose chunk fails, and all behind it, are removed before this returns.
        """
        names = await self._records(session)
        read = await self._effects.together(self._chunk(session, name) for name in names)
        sound: list[Chunk] = []
        for chunk in read:
            if chunk is None or chunk.offset != (sound[-1].end if sound else 0):
                break
            if not await self._is_sound(chunk):
                break
            if not self.is_current(chunk):
                chunk = await self._renew(session, chunk)
            sound.append(chunk)
        broken = [f"{layout.upload(session.uuid)}/{name}" for name in names[len(sound) :]]
        if broken:
            # The last first: what is left at any moment is a chain without a gap.
            # What a power cut brings back is looked through again in the next epoch.
            for key in reversed(broken):
                await self._driver.delete([key], durable=False)
            await self._driver.delete([chunk.key for chunk in read[len(sound) :] if chunk], durable=False)
        return sound

    def is_current(self, record: Chunk | Commit) -> bool:
        """Whether it was written in this epoch of the store, so that nothing can have torn what it is of."""
        return record.epoch is not None and record.epoch == self._driver.epoch

    async def put_commit(self, session: Session, commit: Commit) -> None:
        """Note what a closing PUT has proved, before the chunks move."""
        record = {"digest": str(commit.digest), "size": commit.size_bytes, "epoch": commit.epoch}
        key = f"{layout.upload(session.uuid)}/commit"
        await self._driver.put(key, json.dumps(record).encode(), durable=False)

    async def commit(self, session: Session) -> Commit | None:
        """What an earlier closing PUT has proved, if there was one."""
        try:
            record = json.loads(await self._driver.get(f"{layout.upload(session.uuid)}/commit", limit=_LIMIT))
            return Commit(Digest.parse(record["digest"]), int(record["size"]), record["epoch"])
        except (NotFound, DigestInvalid, ValueError, KeyError, TypeError):
            # A power cut may take the record: then the digest is proved again.
            return None

    async def drop(self, uuid: str) -> None:
        """Remove a session and all that belongs to it; its record first, so that it ends at once."""
        prefix = layout.upload(uuid)
        # Two steps: a piece committed behind the first finds no session, and one before it is walked over.
        # Of most sessions nothing is left for the second.
        await self._driver.delete([f"{prefix}/session", layout.upload_chunk(uuid, 0)], durable=False)
        left = [key async for key in self._driver.walk(prefix)]
        if left:
            await self._driver.delete(left, durable=False)

    async def uuids(self, *, after: str = "", limit: int) -> list[str]:
        """The sessions there are, finished or not, behind `after`."""
        return await self._driver.children(layout.UPLOADS, after=after, limit=limit)

    async def newest(self, uuid: str) -> float | None:
        """When anything of the session was last written, in seconds by the store's clock; None when gone."""
        newest: float | None = None
        async for key in self._driver.walk(layout.upload(uuid)):
            try:
                written = (await self._driver.stat(key)).modified_at.timestamp()
            except NotFound:
                continue
            newest = written if newest is None else max(newest, written)
        return newest

    async def _records(self, session: Session) -> list[str]:
        """The names of the records, by their offsets."""
        names = await self._driver.children(layout.upload(session.uuid))
        return [name for name in names if name.startswith(layout.CHUNK)]

    async def _chunk(self, session: Session, name: str) -> Chunk | None:
        try:
            key = f"{layout.upload(session.uuid)}/{name}"
            record = json.loads(await self._driver.get(key, limit=_LIMIT))
            return Chunk(
                int(name.removeprefix(layout.CHUNK)),
                int(record["size"]),
                layout.upload_data(session.uuid, record["data"]),
                tuple(Digest.parse(digest) for digest in record["digests"]),
                record["epoch"],
            )
        except (NotFound, DigestInvalid, ValueError, KeyError, TypeError):
            return None

    async def _is_sound(self, chunk: Chunk) -> bool:
        if self.is_current(chunk):
            return True
        try:
            if (await self._driver.stat(chunk.key)).size_bytes != chunk.size_bytes:
                return False
            hasher = chunk.digests[0].hasher()
            async with self._driver.open(chunk.key) as opened:
                async for piece in opened.chunks():
                    await self._effects.aside(hasher.update, piece)
        except NotFound:
            return False
        return hasher.hexdigest() == chunk.digests[0].encoded

    async def _renew(self, session: Session, chunk: Chunk) -> Chunk:
        renewed = Chunk(chunk.offset, chunk.size_bytes, chunk.key, chunk.digests, self._driver.epoch)
        await self._driver.put(
            layout.upload_chunk(session.uuid, chunk.offset), _record(renewed), durable=False
        )
        return renewed


def _record(chunk: Chunk) -> bytes:
    record = {
        "data": chunk.key.rpartition("/")[2].removeprefix(layout.DATA),
        "size": chunk.size_bytes,
        "digests": [str(digest) for digest in chunk.digests],
        "epoch": chunk.epoch,
    }
    return json.dumps(record).encode()
