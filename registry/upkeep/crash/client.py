"""A client that knows afterwards what must be so and what may be so, wherever it was interrupted.

It says of each thing what it has asked for and what it was told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from registry.core.registry import Registry, Repository
from registry.errors import BlobUnknown, ManifestBlobUnknown, ManifestUnknown
from registry.model.digests import Digest
from registry.model.media_types import OCI_IMAGE
from registry.model.names import RepositoryName, Tag
from registry.removal.claims import state_of
from registry.removal.collector import Collector
from registry.removal.mark import Found, Needed, short
from registry.removal.purging import Purging
from registry.removal.releasing import Releasing
from registry.removal.trash import BY_POLICY
from registry.store import layout
from registry.store.blocked import Block
from registry.upkeep.crash.ledger import STORE, Fact, Tell, Value
from registry.upkeep.expiry import expire, stamped_now
from registry.upkeep.reindex import reindex
from registry.work.pace import let_others


class Received:
    """A body that has come already."""

    cut_off = False

    def __init__(self, content: bytes = b"") -> None:
        self._content = content
        self.length: int | None = len(content)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._content:
            yield self._content


@dataclass(frozen=True, slots=True)
class Made:
    """A manifest of a rehearsal."""

    content: bytes
    media_type: str = OCI_IMAGE
    subject: str | None = None

    @property
    def digest(self) -> str:
        """The digest of its bytes."""
        return str(Digest.of(self.content))


class Client:
    """Pushes to a registry and deletes from it, and tells."""

    def __init__(self, registry: Registry, tell: Tell) -> None:
        self.registry = registry
        self.tell = tell
        self._times: Counter[tuple[RepositoryName, str, str]] = Counter()

    async def in_one_body(self, name: RepositoryName, content: bytes) -> None:
        """Push a blob in the body of the closing PUT, as containerd does."""
        digest, repository = Digest.of(content), self._repository(name)
        self._asks(Fact("blob", name, str(digest)), str(digest))
        session = await repository.begin_upload("sha256")
        await repository.finish_upload(session.uuid, digest, Received(content), None)
        self._told(Fact("blob", name, str(digest)), str(digest))

    async def in_pieces(self, name: RepositoryName, *pieces: bytes) -> None:
        """Push a blob by PATCHes and an empty PUT, as docker does."""
        digest, repository = Digest.of(b"".join(pieces)), self._repository(name)
        self._asks(Fact("blob", name, str(digest)), str(digest))
        session = await repository.begin_upload("sha256")
        for piece in pieces:
            await repository.append(session.uuid, Received(piece), None)
        await repository.finish_upload(session.uuid, digest, Received(), None)
        self._told(Fact("blob", name, str(digest)), str(digest))

    async def at_once(self, name: RepositoryName, content: bytes) -> None:
        """Push a blob in a single POST."""
        digest = Digest.of(content)
        self._asks(Fact("blob", name, str(digest)), str(digest))
        await self._repository(name).push_blob(digest, Received(content))
        self._told(Fact("blob", name, str(digest)), str(digest))

    async def mount(self, name: RepositoryName, content: bytes, source: RepositoryName) -> None:
        """Take a blob over from another repository."""
        digest = Digest.of(content)
        self._asks(Fact("blob", name, str(digest)), str(digest))
        repository = self._repository(name)
        if await repository.mount(digest, source, lambda _: True):
            self._told(Fact("blob", name, str(digest)), str(digest))

    async def find(self, name: RepositoryName, content: bytes) -> None:
        """Ask for a blob before it is pushed, as clients do, and find that it need not be."""
        blob = Fact("blob", name, str(Digest.of(content)))
        self._asks(blob, blob.which)
        await self._repository(name).blob(Digest.of(content), may_push=True)
        self._told(blob, blob.which)

    async def upload(self, name: RepositoryName, *pieces: bytes) -> str:
        """Begin an upload, send pieces, and leave it there."""
        repository = self._repository(name)
        uuid = (await repository.begin_upload("sha256")).uuid
        upload, size = Fact("upload", name, uuid), 0
        self._told(upload, str(size))
        for piece in pieces:
            size += len(piece)
            self._asks(upload, str(size))
            await repository.append(uuid, Received(piece), None)
            self._told(upload, str(size))
        return uuid

    async def cancel(self, name: RepositoryName, uuid: str) -> None:
        """End an upload without a blob."""
        upload = Fact("upload", name, uuid)
        self._asks(upload, None)
        await self._repository(name).cancel_upload(uuid)
        self._told(upload, None)

    async def expire(self, name: RepositoryName) -> None:
        """Let all uploads go that are left, those of the repository, as if nobody had come back to them."""
        uploads = [Fact("upload", name, uuid) for uuid in await self.registry.store.sessions.uuids(limit=100)]
        for upload in uploads:
            self._asks(upload, None)
        await expire(self.registry, after=timedelta(seconds=-1))
        for upload in uploads:
            self._told(upload, None)

    async def manifest(self, name: RepositoryName, made: Made, *tags: str) -> None:
        """Push a manifest whose blobs are there, by its digest, with tags."""
        facts = self._facts(name, made, tags)
        facts += [self._entered(name, tag, made.digest) for tag in tags]
        for fact in facts:
            self._asks(fact, made.digest)
        self._asks(Fact("listed", name), name)
        repository = self._repository(name)
        named = [Tag(tag) for tag in tags]
        await repository.push_manifest(Digest.parse(made.digest), made.content, made.media_type, named)
        for fact in facts:
            self._told(fact, made.digest)
        self._told(Fact("listed", name), name)

    async def delete_tag(self, name: RepositoryName, tag: str) -> None:
        """Take a tag away."""
        await self._delete(name, [Fact("tag", name, tag)], self._repository(name).delete_tag(Tag(tag)))

    async def delete_manifest(self, name: RepositoryName, made: Made, *tags: str) -> None:
        """Take a manifest away, with the tags that name it."""
        deleting = self._repository(name).delete_manifest(Digest.parse(made.digest))
        await self._delete(name, self._facts(name, made, tags), deleting)

    async def let_go(self, name: RepositoryName, made: Made, *tags: str) -> None:
        """Have a policy take the tags of a manifest away, and the manifest, as retention does."""
        digest, store = Digest.parse(made.digest), self.registry.store
        releasing = Releasing(store, self.registry.intents, "rehearsal")

        async def release() -> None:
            gone = [
                await releasing.release_tag(name, tag, digest, state_of(await store.history.keys(name, tag)))
                for tag in map(Tag, tags)
            ]
            with suppress(ManifestUnknown):
                written = await store.manifests.written_at(name, digest)
                await releasing.release_manifests(name, {digest: written})
            if not all(gone):
                raise ManifestUnknown

        await self._delete(name, self._facts(name, made, tags), release())

    async def pin(self, name: RepositoryName, made: Made) -> None:
        """Have a manifest kept from eviction: note that somebody has pushed it, and pin it."""
        digest, store = Digest.parse(made.digest), self.registry.store
        pushed, pinned = Fact("pushed", name, made.digest), Fact("pin", name, made.digest)
        self._asks(pushed, made.digest)
        await store.origins.note_here(name, digest)
        self._told(pushed, made.digest)
        self._asks(pinned, made.digest)
        await store.pins.put(name, digest, "rehearsal")
        self._told(pinned, made.digest)

    async def delete_blob(self, name: RepositoryName, content: bytes) -> None:
        """Take a blob away that nothing needs."""
        digest = Digest.of(content)
        await self._delete(
            name, [Fact("blob", name, str(digest))], self._repository(name).delete_blob(digest)
        )

    async def delete_repository(
        self, name: RepositoryName, manifests: Mapping[Made, Sequence[str]], blobs: Iterable[bytes]
    ) -> None:
        """Take a repository away, with its manifests, by the tags that name them, and its blobs."""
        facts = [fact for made, tags in manifests.items() for fact in self._facts(name, made, tags)]
        facts += [Fact("blob", name, str(Digest.of(blob))) for blob in blobs]
        facts.append(Fact("listed", name))
        await self._delete(name, facts, self.registry.door.remove_repository(name, "rehearsal"))

    async def start(self) -> None:
        """Mark the store as ours, as a server does that starts."""
        fact = Fact("format", STORE)
        self._asks(fact, str(fact))
        await self.registry.store.marks.put_format()
        self._told(fact, str(fact))

    async def set_read_only(self, *, on: bool) -> None:
        """Switch writing off or on, as an operator does."""
        fact = Fact("read-only", STORE)
        value = str(fact) if on else None
        self._asks(fact, value)
        await self.registry.store.marks.set_read_only(on=on)
        self._told(fact, value)

    async def give_to_policy(self, name: RepositoryName, content: bytes) -> None:
        """Lose the link of a blob to the trash, as to a policy that has found nothing that needs it."""
        digest, driver = Digest.of(content), self.registry.store.driver
        link = layout.layer_link(name, digest)
        await driver.copy(f"{layout.trash_layer(name, digest)}/{BY_POLICY}rehearsal", link)
        await driver.delete([link])
        self._told(Fact("blob", name, str(digest)), None)
        self._asks(Fact("blob", name, str(digest)), str(digest))  # who only pulls is given it from the trash
        self._told(Fact("data", STORE, str(digest)), str(digest))

    async def spoil(self, name: RepositoryName, content: bytes) -> None:
        """Damage the data of a blob, as a disk may."""
        digest, spoilt = Digest.of(content), _spoilt(content)
        await self.registry.store.driver.put(layout.blob_data(digest), spoilt)
        for fact in (Fact("blob", name, str(digest)), Fact("data", STORE, str(digest))):
            self._told(fact, str(Digest.of(spoilt)))

    async def heal(self, name: RepositoryName, made: Made, content: bytes) -> None:
        """Push a manifest, be told that a blob is damaged and set aside, and do it all once more."""
        which = str(Digest.of(content))
        data, kept = Fact("data", STORE, which), Fact("quarantine", STORE, which)
        for fact, value in ((Fact("blob", name, which), None), (data, None), (data, which)):
            self._asks(fact, value)
        self._asks(kept, str(Digest.of(_spoilt(content))))
        with suppress(ManifestBlobUnknown):  # else it was healed by an earlier attempt
            await self.manifest(name, made)
        self._told(kept, str(Digest.of(_spoilt(content))))
        await self.in_pieces(name, content)
        self._told(data, which)
        await self.manifest(name, made)

    async def collect(self, name: RepositoryName, needed: bytes, unneeded: bytes, made: Made) -> None:
        """Have two blobs collected that nothing needs; a manifest is pushed meanwhile that needs one."""
        digests, store = [Digest.of(needed), Digest.of(unneeded)], self.registry.store
        back, gone = (Fact("blob", name, str(digest)) for digest in digests)
        trash, pushed = Fact("trash", name, f"blob {gone.which}"), False
        await self.at_once(name, needed)
        await self.at_once(name, unneeded)

        async def step() -> None:
            nonlocal pushed
            if not pushed:
                pushed = True
                await self.manifest(name, made)
                self._asks(back, None)
                self._asks(gone, None)
                self._asks(trash, str(trash))

        tomorrow = await stamped_now(store) + timedelta(days=1).total_seconds()
        collector = Collector(store, now=tomorrow, grace=timedelta(hours=1), step=step)
        for digest in digests:
            await collector.take_links(Found(name, name, layers=[digest]), Needed({short(digest)}))
        self._told(back, back.which)
        self._told(trash, str(trash))

    async def purge(self, name: RepositoryName, content: bytes) -> None:
        """Have content removed for good that a repository has."""
        digest, store = Digest.of(content), self.registry.store
        blocked = Fact("blocked", STORE, str(digest))
        gone = (Fact("blob", name, str(digest)), Fact("data", STORE, str(digest)))
        self._asks(blocked, str(blocked))
        self._asks(gone[1], str(digest))
        for fact in gone:
            self._asks(fact, None)

        await store.blocked.put(Block((digest,), "rehearsal", store.effects.now(), "it leaked"))
        await Purging(store, by="rehearsal", step=let_others).remove([digest])
        self._told(blocked, str(blocked))
        for fact in gone:
            self._told(fact, None)

    async def unblock(self, content: bytes) -> None:
        """Let content be pushed again that was purged."""
        blocked = Fact("blocked", STORE, str(Digest.of(content)))
        self._asks(blocked, None)
        await self.registry.store.blocked.lift(Digest.of(content))
        self._told(blocked, None)

    async def reindex(self, name: RepositoryName, *referring: Made) -> None:
        """Lose catalog and referrers of a repository, as if Distribution had written it; build them anew."""
        store = self.registry.store
        complete = Fact("complete", STORE)
        facts = {Fact("listed", name): str(name), complete: str(complete)}
        facts |= {Fact("referrer", name, f"{made.subject} {made.digest}"): made.digest for made in referring}
        for fact, value in facts.items():
            self._asks(fact, None)
            self._asks(fact, value)
        derived = [key async for key in store.driver.walk(layout.referrers(name))]
        derived += [layout.catalog_entry(name), layout.layers_placeholder(name), layout.CATALOG_COMPLETE]
        await store.driver.delete(derived, durable=False)
        async for _ in reindex(self.registry):
            pass
        for fact, value in facts.items():
            self._told(fact, value)

    def _repository(self, name: RepositoryName) -> Repository:
        return self.registry.repository(name, "rehearsal")

    def _facts(self, name: RepositoryName, made: Made, tags: Iterable[str]) -> list[Fact]:
        """What comes and goes with a manifest."""
        facts = [Fact("manifest", name, made.digest), *(Fact("tag", name, tag) for tag in tags)]
        if made.subject is not None:
            facts.append(Fact("referrer", name, f"{made.subject} {made.digest}"))
        return facts

    async def _delete(self, name: RepositoryName, facts: list[Fact], deleting: Awaitable[object]) -> None:
        # What is gone, told or not, lies in the trash.
        moved = [fact for fact in facts if fact.kind in ("manifest", "tag", "blob")]
        trash = [Fact("trash", name, f"{fact.kind} {fact.which}") for fact in moved]
        tags = [fact.which for fact in facts if fact.kind == "tag"]
        entered = [self._entered(name, tag, "deleted") for tag in tags]
        for fact in facts:
            self._asks(fact, None)
        for fact in (*trash, *entered):
            self._asks(fact, str(fact))
        try:
            await deleting
        except (ManifestUnknown, BlobUnknown):  # gone before: nothing is entered once more
            self._times.subtract((name, tag, "deleted") for tag in tags)
            entered = []
        for fact in facts:
            self._told(fact, None)
        for fact in (*trash, *entered):
            self._told(fact, str(fact))

    def _entered(self, name: RepositoryName, tag: str, what: str) -> Fact:
        """That the history of the tag says it once more than it did before."""
        self._times[name, tag, what] += 1
        return Fact("history", name, f"{tag} {what} {self._times[name, tag, what]}")

    def _asks(self, fact: Fact, value: Value) -> None:
        self.tell(fact, value, False)

    def _told(self, fact: Fact, value: Value) -> None:
        self.tell(fact, value, True)


def _spoilt(content: bytes) -> bytes:
    return content[:-1]
