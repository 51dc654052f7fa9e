"""Copies of tags within the registry: the same digest elsewhere, what refers to it too, and no byte moved."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from registry.core.blobs import Blobs
from registry.core.listings import Listings
from registry.core.planting import Planting
from registry.core.pushes import Pushes
from registry.core.quotas import Quotas
from registry.core.tagging import Tagging
from registry.core.trees import Read, Tree
from registry.errors import (
    BlobUnknown,
    Denied,
    DigestInvalid,
    ManifestUnknown,
    RegistryError,
    StorageDamaged,
    TooManyRequests,
)
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.model.tag_rights import TagRight, TagRights
from registry.removal.intents import Intents
from registry.store.store import Store

# Where cosign puts what it cannot attach: beside the image, under tags made of its digest.
_COSIGN = (".sig", ".att", ".sbom")
_ROUNDS = 20  # of looking, while what refers to it becomes more


@dataclass(frozen=True, slots=True)
class Source:
    """What is to be copied, from where; `read` reads a manifest of it.

    With `put_back` (for who may push there too) a blob that a policy took from there comes back.
    """

    name: RepositoryName
    digest: Digest
    read: Read
    put_back: bool
    referrers: bool


@dataclass(frozen=True, slots=True)
class Copied:
    """What a tag names now with all below; `referrers` of them are attached, `left` says what is not so.

    `replaced` is what the tags named that were set, None where there was none.
    """

    digest: Digest
    manifests: int
    blobs: int
    referrers: int
    left: Sequence[str]
    tags: Mapping[Tag, Digest]
    replaced: Mapping[Tag, Digest | None]


@dataclass(slots=True)
class _Found:
    """The tree of what is to be copied, what is attached to it, and by which tags of cosign; what is not."""

    tree: Tree = field(default_factory=Tree)
    attached: set[Digest] = field(default_factory=set)
    signed: dict[Tag, Digest] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)


class Promotion:
    """Copies between repositories of one store."""

    def __init__(
        self,
        store: Store,
        intents: Intents,
        blobs: Blobs,
        listings: Listings,
        quotas: Quotas,
        tagging: Tagging,
        pushes: Pushes,
        *,
        allow_missing: bool,
    ) -> None:
        self._store = store
        self._intents = intents
        self._blobs = blobs
        self._listings = listings
        self._quotas = quotas
        self._tagging = tagging
        self._pushes = pushes
        self._allow_missing = allow_missing

    async def copy(
        self, source: Source, name: RepositoryName, tag: Tag, by: str, rights: TagRights
    ) -> Copied:
        """Let a tag of `name` name what `source` is: a writer as a push is one.

        An intent names all that is needed before it is looked for; blobs come first, then what is listed and
        what is attached, and the tag last. A tag of cosign's that names something else there is left alone.
        Raises the refusals of tags, ManifestUnknown, BlobUnknown, StorageDamaged, QuotaExceeded, Unsupported
        when it is too much, TooManyRequests while what is attached becomes ever more; then the tag stays.
        """
        needed = {source.digest}
        only = _Promoting(name, tag, rights)
        planting = Planting(self._store, self._intents, self._pushes, name, by, only)
        async with planting.under_way():
            for _ in range(_ROUNDS):
                await planting.announce(needed)
                found = await self._find(source)
                if not found.tree.digests <= needed:
                    needed |= found.tree.digests
                    continue
                tags, stays = await self._tags(name, tag, source.digest, found)
                for one, digest in tags.items():
                    await self._tagging.allow(name, digest, [one], only)
                await self._quotas.require_all(name, found.tree.sizes(found.tree.nodes))
                mounted = await self._mount(source, name, found, planting)
                manifests = [one for one in found.tree.nodes if one != source.digest] + [source.digest]
                if await planting.plant(manifests, tags, source.read):
                    return self._copied(source, found, stays, mounted, planting)
            raise TooManyRequests(
                f"ever more refers to {source.digest} in {source.name} while it is copied; copy again, or"
                " leave that out (--no-referrers)",
                headers={"Retry-After": "60"},
            )

    def _copied(
        self,
        source: Source,
        found: _Found,
        stays: Mapping[Tag, str],
        mounted: Collection[Digest],
        planting: Planting,
    ) -> Copied:
        nodes = found.tree.nodes
        signed = [one for tag, one in found.signed.items() if tag not in stays and one in nodes]
        sparse = found.tree.absent.difference(found.attached, found.signed.values(), mounted)
        return Copied(
            source.digest,
            len(nodes),
            len(mounted),
            len(found.attached.intersection(nodes)) + len(signed),
            [
                *found.left,
                *stays.values(),
                *(f"{one}, which an index lists, is not in {source.name}" for one in sparse),
            ],
            {tag: found.signed.get(tag, source.digest) for tag in planting.replaced},
            planting.replaced,
        )

    async def _find(self, source: Source) -> _Found:
        found = _Found()
        tree = found.tree
        pending, asked = [source.digest], set[Digest]()
        while pending:
            most = self._pushes.max_references
            await tree.grow(pending, source.read, self._store.effects, max_references=most)
            if source.digest in tree.absent:
                raise ManifestUnknown(detail={"name": source.name, "digest": str(source.digest)})
            for digest, error in tree.unread.items():
                raise type(error)(f"cannot be copied: {digest} of {source.name}: {error.message}")
            pending = []
            for digest in [one for one in tree.nodes if source.referrers and one not in asked]:
                asked.add(digest)
                attached = []
                async for one in self._referrers(source.name, digest, found):
                    tree.name([one])
                    attached.append(one)
                found.attached.update(attached)
                signed = await self._signed(source.name, digest, found)
                found.signed |= signed
                pending += [*attached, *signed.values()]
        for tag, signature in found.signed.items():
            if signature in tree.absent:
                found.left.append(f"{source.name}:{tag} names {signature}, which is gone")
        return found

    async def _referrers(self, name: RepositoryName, subject: Digest, found: _Found) -> AsyncIterator[Digest]:
        after: str | None = ""
        while after is not None:
            page = await self._listings.referrers(name, subject, artifact_types=(), after=after)
            for descriptor in page.entries:
                try:
                    yield Digest.parse(json.loads(descriptor)["digest"])
                except (ValueError, KeyError, TypeError, DigestInvalid):
                    found.left.append(f"an entry of what refers to {subject} in {name} is damaged")
            after = page.next

    async def _signed(self, name: RepositoryName, digest: Digest, found: _Found) -> dict[Tag, Digest]:
        """What cosign has put beside a manifest; it knows no other algorithm."""
        signed: dict[Tag, Digest] = {}
        for suffix in _COSIGN if digest.algorithm == "sha256" else ():
            tag = Tag(f"sha256-{digest.encoded}{suffix}")
            try:
                signed[tag] = await self._store.links.tag(name, tag)
            except ManifestUnknown:
                continue
            except StorageDamaged:
                found.left.append(f"{name}:{tag} is damaged")
        return signed

    async def _tags(
        self, name: RepositoryName, tag: Tag, digest: Digest, found: _Found
    ) -> tuple[dict[Tag, Digest], dict[Tag, str]]:
        """What tags of the target are to name, and what is to be said of those that stay as they are."""
        tags: dict[Tag, Digest] = {}
        stays: dict[Tag, str] = {}
        for one, signature in found.signed.items():
            try:
                named = await self._store.links.tag(name, one)
            except ManifestUnknown:
                if signature in found.tree.nodes:
                    tags[one] = signature
                continue
            except StorageDamaged:
                named = None
            if named != signature:
                stays[one] = f"{name}:{one} was there, names something else, and stays so"
        return {**tags, tag: digest}, stays

    async def _mount(
        self, source: Source, name: RepositoryName, found: _Found, planting: Planting
    ) -> set[Digest]:
        """Let the target have every blob that it does not have; all that it has of them now.

        Raises BlobUnknown for all that are missing together, Denied for what is blocked; nothing was mounted.
        """
        blobs = [digest for digest in found.tree.blobs if digest.supported]
        required = set[Digest]().union(*(node.blobs for node in found.tree.nodes.values()))
        self._store.blocked.refuse(required)
        effects = self._store.effects
        here = await effects.together(self._has(name, digest, put_back=True) for digest in blobs)
        wanted = [digest for digest, has in zip(blobs, here, strict=True) if not has]
        there = await effects.together(
            self._has(source.name, digest, put_back=source.put_back) for digest in wanted
        )
        missing = [one for one, has in zip(wanted, there, strict=True) if not has]
        lacking = [] if self._allow_missing else [one for one in missing if one in required]
        lacking += [one for one in required if not one.supported and not self._allow_missing]
        if lacking:
            raise _lacking(source.name, lacking)
        planting.wrote = planting.wrote or len(missing) < len(wanted)
        for digest in wanted:
            if digest not in missing and not await self._blobs.mount(
                name, digest, source.name, put_back=source.put_back
            ):
                raise _lacking(source.name, [digest])
        return set(blobs).difference(missing)

    async def _has(self, name: RepositoryName, digest: Digest, *, put_back: bool) -> bool:
        try:
            await self._blobs.stat(name, digest, put_back=put_back)
        except BlobUnknown:
            return False
        return True


class _Promoting:
    """The rights of somebody who copies to one tag: no other is moved, whatever the rules say."""

    def __init__(self, name: RepositoryName, tag: Tag, rights: TagRights) -> None:
        self._name = name
        self._tag = tag
        self._rights = rights

    def refusal(self, right: TagRight, tag: Tag) -> RegistryError | None:
        """That of the rules for the tag; the others may only be created."""
        if right == "overwrite" and tag != self._tag:
            return Denied(
                f"somebody has just set {self._name}:{tag}; copy again",
                detail={"name": self._name, "tag": tag},
            )
        return self._rights.refusal(right, tag)


def _lacking(source: RepositoryName, digests: Sequence[Digest]) -> BlobUnknown:
    first, *others = (
        BlobUnknown(
            f"cannot be copied: {source} has no blob {digest}, or its bytes are missing",
            detail={"name": source, "digest": str(digest)},
        )
        for digest in digests
    )
    first.also = tuple(others)
    return first
