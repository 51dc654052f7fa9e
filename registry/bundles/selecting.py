"""What a bundle is about: the images that are selected, with all that belongs to them."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from registry.bundles.contents import Content, Contents, Digests, Key
from registry.bundles.errors import BundleRefused
from registry.bundles.sources import COSIGN, Source
from registry.bundles.statement import Statement, key_of
from registry.errors import ManifestInvalid, NameUnknown, RequestInvalid, StorageDamaged
from registry.model.digests import Digest
from registry.model.manifests import Manifest
from registry.model.names import RepositoryName, Tag
from registry.model.platforms import Platform, chosen
from registry.model.selection import newest
from registry.settings.selections import SelectionSettings
from registry.store.effects import Effects
from registry.store.manifests import StoredManifest

_TOLD = 20  # of what is missing, in one error
_LISTED = 1000  # images by name in a head
_MOST_PARTS = 20_000  # manifests that belong to one image


@dataclass(frozen=True, slots=True)
class Images:
    """Images by name: by tag, by digest, or both; with the parts of each that are meant."""

    references: Sequence[tuple[RepositoryName, Tag | None, Digest | None]]
    platforms: Sequence[Platform] = ()
    referrers: bool = True

    def described(self) -> dict[str, Any]:
        """As the head of a bundle says it: by name where they are few, else by what they are together."""
        names = sorted(
            str(name) + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")
            for name, tag, digest in self.references
        )
        text = "".join(f"{name}\n" for name in names).encode()
        listed = {"images": names} if len(names) <= _LISTED else {}
        return {
            **listed,
            "count": len(names),
            "sha256": hashlib.sha256(text).hexdigest(),
            "platforms": [str(one) for one in self.platforms],
            "referrers": self.referrers,
        }


def described(settings: SelectionSettings) -> dict[str, Any]:
    """A selection as the head of a bundle says it."""
    return {
        "repositories": [str(one) for one in settings.repositories],
        "tags": [str(one) for one in settings.tags],
        "newest": settings.newest,
        "platforms": [str(one) for one in settings.platforms],
        "referrers": settings.referrers,
    }


@dataclass(slots=True)
class Selected:
    """The statement of what is selected.

    `small` has what always goes with the bytes of each manifest, in the order of those; `missing` is what an
    image lists and the source does not have.
    """

    statement: Statement = field(default_factory=Statement)
    small: list[tuple[Key, ...]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


class Selecting:
    """Reads from one source what is selected; each step that it yields is one more image."""

    def __init__(self, source: Source, effects: Effects, *, allow_sparse: bool) -> None:
        self._source = source
        self._effects = effects
        self._allow_sparse = allow_sparse
        self._beside: list[tuple[RepositoryName, Tag, Digest]] = []
        self._listed: set[Platform] = set()  # for which an index lists an image
        self._had_indexes = False
        self.selected = Selected()

    async def settings(self, settings: SelectionSettings) -> AsyncIterator[str]:
        """Everything that settings select."""
        for name in await self._names(settings):
            held = await self._source.tags(name)
            tags = newest([tag for tag in held if settings.selection.has(tag)], settings.newest)
            seen = Digests()
            for tag in tags:
                yield f"{name}:{tag}"
                await self._tag(name, tag, settings.platforms, settings.referrers, seen)
        self._end()

    async def images(self, images: Images) -> AsyncIterator[str]:
        """Every image that is named. Raises RequestInvalid for one that is not there."""
        seen: dict[RepositoryName, Digests] = {}
        for name, tag, digest in sorted(images.references, key=str):
            yield f"{name}:{tag or digest}"
            here = seen.setdefault(name, Digests())
            found = await self._source.target(name, tag) if tag is not None else digest
            if found is None:
                raise RequestInvalid(f"{name}:{tag} is not there")
            if digest is not None and found != digest:
                raise RequestInvalid(f"{name}:{tag} names {found}, and not {digest}")
            await self._root(name, tag, found, images.platforms, images.referrers, here)
            if tag is not None:
                self._set(name, tag, found)
        for platform in images.platforms:
            # Not of a stream, whose indexes may come to have such images one day.
            if self._had_indexes and platform not in self._listed:
                self.selected.missing.append(f"an image for {platform}, which no index here lists")
        self._end()

    def _end(self) -> None:
        """Raises BundleRefused where something is missing that may not be."""
        missing = self.selected.missing
        if missing and not self._allow_sparse:
            more = f", and {len(missing) - _TOLD} more" if len(missing) > _TOLD else ""
            raise BundleRefused(
                f"not all of what is selected is here: {'; '.join(missing[:_TOLD])}{more}. Pull or push what"
                " is missing, select other platforms, or write the bundle without it (--allow-sparse)",
                detail={"missing": missing[:_TOLD]},
            )
        for name, tag, digest in self._beside:
            self._set(name, tag, digest)
        self.selected.statement.order()

    async def _names(self, settings: SelectionSettings) -> list[RepositoryName]:
        patterns = [str(one) for one in settings.repositories]
        names = {RepositoryName(one) for one in patterns if "*" not in one}
        if len(names) < len(patterns):
            async for name in self._source.repositories():
                if settings.selection.has_repository(name):
                    names.add(name)
        return sorted(names)

    async def _tag(
        self,
        name: RepositoryName,
        tag: Tag,
        platforms: Sequence[Platform],
        referrers: bool,
        seen: Digests,
    ) -> None:
        try:
            digest = await self._source.target(name, tag)
        except NameUnknown:
            digest = None
        if digest is None:
            return  # it went meanwhile
        await self._root(name, tag, digest, platforms, referrers, seen)
        self._set(name, tag, digest)

    def _set(self, name: RepositoryName, tag: Tag, digest: Digest) -> None:
        key = key_of(digest)
        if key in self.selected.statement.manifests:
            self.selected.statement.tags[str(name), str(tag)] = key

    async def _root(
        self,
        name: RepositoryName,
        tag: Tag | None,
        root: Digest,
        platforms: Sequence[Platform],
        referrers: bool,
        seen: Digests,
    ) -> None:
        """Take a manifest with all that belongs to it: what it lists before it."""
        root.require_supported()
        # Not by recursion: how deep indexes are nested is for those to say who push them.
        pending: list[tuple[Digest, _Read | None]] = [(root, None)]
        image = f"{name}:{tag}" if tag is not None else f"{name}@{root}"
        began = len(seen)
        while pending:
            digest, read = pending.pop()
            if read is not None:
                self._take(name, digest, read)
                continue
            key = key_of(digest)
            if key in seen:
                continue
            seen.add(key)
            if len(seen) - began > _MOST_PARTS:
                raise ManifestInvalid(f"more than {_MOST_PARTS} manifests belong to {name}@{root}")
            stored = await self._source.manifest(name, digest)
            if stored is None:
                # buildkit's cache indexes list blobs.
                if await self._blob(name, digest) is None:
                    self.selected.missing.append(f"{digest}, which {name}@{root} leads to")
                continue
            read = await self._read(name, stored, platforms, image)
            pending += [(one, None) for one in (await self._attached(name, digest) if referrers else ())]
            pending.append((digest, read))
            pending += [(child, None) for child in reversed(read.children)]

    async def _read(
        self, name: RepositoryName, stored: StoredManifest, platforms: Sequence[Platform], image: str
    ) -> _Read:
        """Read what a manifest lists, and take its blobs."""
        manifest: Manifest = await self._effects.aside(stored.parse)
        is_whole = True
        required = {one.digest for one in manifest.required_blobs}
        blobs = [one for one in manifest.references if one not in manifest.children]
        sizes = await self._effects.together(self._blob(name, one.digest) for one in blobs)
        for descriptor, size in zip(blobs, sizes, strict=True):
            if size is None and descriptor.digest in required:
                is_whole = False
                self.selected.missing.append(f"{descriptor.digest}, which {name}@{stored.digest} needs")
            elif size is not None and size != descriptor.size_bytes:
                raise StorageDamaged(
                    f"the blob {descriptor.digest} of {name} has {size} bytes, and should have"
                    f" {descriptor.size_bytes}; run `moorage scrub run`"
                )
        children = [one for one in chosen(manifest.children, platforms) if one.supported]
        if platforms and manifest.children:
            self._had_indexes = True
            self._listed.update(one for one in platforms for child in manifest.children if one.matches(child))
            if not children:
                told = ", ".join(map(str, platforms))
                self.selected.missing.append(f"an image for {told}, of which {image} lists none")
        is_whole = is_whole and len(children) == len(manifest.children)
        config = () if manifest.config is None else (manifest.config.digest,)
        return _Read(len(stored.content), stored.media_type, children, config, is_whole)

    async def _blob(self, name: RepositoryName, digest: Digest) -> int | None:
        """Take a blob; its bytes, None where it is not there."""
        key = key_of(digest)
        held = self.selected.statement.blobs.get(key)
        if held is not None and str(name) in held.repositories:
            return held.size
        size = await self._source.blob_size(name, digest)
        if size is not None:
            self._add(self.selected.statement.blobs, key, name, Content(size, ()))
        return size

    def _take(self, name: RepositoryName, digest: Digest, read: _Read) -> None:
        """Take a manifest, whose children and blobs have been taken."""
        statement = self.selected.statement
        absent = any(not statement.has(key_of(one)) for one in read.children)
        content = Content(read.size_bytes, (), read.media_type, absent or not read.is_whole)
        key = key_of(digest)
        self._add(statement.manifests, key, name, content)
        small = self.selected.small
        if len(small) < len(statement.manifests):
            small.append(())
        keys = map(key_of, (*read.children, *read.config))
        small[statement.manifests.place(key)] = tuple(one for one in keys if statement.has(one))

    def _add(self, to: Contents, key: Key, name: RepositoryName, content: Content) -> None:
        """Let a repository have it."""
        held = to.get(key, content)
        names = tuple(sorted({*held.repositories, str(name)}))
        is_sparse = held.sparse or content.sparse
        to[key] = Content(held.size, names, held.media_type, is_sparse)

    async def _attached(self, name: RepositoryName, digest: Digest) -> list[Digest]:
        """What refers to a manifest, and what cosign and others have put beside it by a tag."""
        found = await self._source.referrers(name, digest)
        suffixes = COSIGN if digest.algorithm == "sha256" else ()
        tags = [Tag(f"sha256-{digest.encoded}{suffix}") for suffix in suffixes]
        targets = await self._effects.together(self._source.target(name, tag) for tag in tags)
        for tag, named in zip(tags, targets, strict=True):
            if named is not None and named.supported:
                found.append(named)
                self._beside.append((name, tag, named))
        return [one for one in found if one.supported]


@dataclass(frozen=True, slots=True)
class _Read:
    """What a manifest says that is needed once all below it was taken."""

    size_bytes: int
    media_type: str
    children: Sequence[Digest]
    config: Sequence[Digest]
    is_whole: bool
