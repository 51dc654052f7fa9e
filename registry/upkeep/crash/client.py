"""A client that knows afterwards what must be so and what may be so, wherever it was interrupted.

It says of each thing what it has asked for and what it was told.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from registry.core.registry import Registry, Repository
from registry.errors import BlobUnknown, ManifestUnknown
from registry.model.digests import Digest
from registry.model.media_types import OCI_IMAGE
from registry.model.names import RepositoryName, Tag
from registry.store import layout
from registry.upkeep.reindex import reindex


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that a client can look at: a `kind` of thing, where it is, and which of them."""

    kind: str  # blob, manifest, tag, history, referrer, listed, complete or trash
    repository: RepositoryName
    which: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.repository} {self.which}".rstrip()


Value = str | None
"""A digest, or None for what is not there."""

Tell = Callable[[Fact, Value, bool], None]
"""Called with what a client asks for (False), and again when it was told that it is so (True)."""


@dataclass(slots=True)
class Ledger:
    """What each thing may be, by what clients were told; a single value must be."""

    may_be: dict[Fact, frozenset[Value]] = field(default_factory=dict)

    def note(self, fact: Fact, value: Value, told: bool) -> None:
        """One thing more that a client has asked for or was told."""
        before = frozenset() if told else self.may_be.get(fact, frozenset([None]))
        self.may_be[fact] = before | {value}


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

    async def manifest(self, name: RepositoryName, made: Made, *tags: str) -> None:
        """Push a manifest whose blobs are there, by its digest, with tags."""
        facts = self._facts(name, made, tags)
        facts += [Fact("history", name, f"{tag} {made.digest}") for tag in tags]
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

    async def delete_blob(self, name: RepositoryName, content: bytes) -> None:
        """Take a blob away that nothing needs."""
        digest = Digest.of(content)
        await self._delete(
            name, [Fact("blob", name, str(digest))], self._repository(name).delete_blob(digest)
        )

    async def reindex(self, name: RepositoryName, *referring: Made) -> None:
        """Lose catalog and referrers of a repository, as if Distribution had written it; build them anew."""
        store = self.registry.store
        facts = {Fact("listed", name): str(name), Fact("complete", name): str(name)}
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
        trash = [
            Fact("trash", name, f"{fact.kind} {fact.which}") for fact in facts if fact.kind != "referrer"
        ]
        trash += [Fact("history", name, f"{fact.which} deleted") for fact in facts if fact.kind == "tag"]
        for fact in facts:
            self._asks(fact, None)
        for fact in trash:
            self._asks(fact, str(fact))
        with suppress(ManifestUnknown, BlobUnknown):  # gone by an earlier attempt that nobody heard of
            await deleting
        for fact in facts:
            self._told(fact, None)
        for fact in trash:
            self._told(fact, str(fact))

    def _asks(self, fact: Fact, value: Value) -> None:
        self.tell(fact, value, False)

    def _told(self, fact: Fact, value: Value) -> None:
        self.tell(fact, value, True)
