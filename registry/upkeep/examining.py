"""Examines a repository that another program may have written: what of it cannot be pulled whole, and why.

Every link is followed by what it contains. Nothing is changed, and nothing needs to stand still: what goes
meanwhile is no damage.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from registry.errors import ManifestUnknown, RegistryError, StorageDamaged
from registry.model.descriptors import Descriptor
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.removal.mark import AT_ONCE, handfuls
from registry.removal.trash import Trash
from registry.store import layout
from registry.store.manifests import StoredManifest
from registry.store.store import Store
from registry.upkeep.check import Problem
from storage.errors import Forbidden, NotFound, Unavailable

_UNREADABLE = "its link cannot be read"
_GONE = "linked, and the bytes are missing"


@dataclass(frozen=True, slots=True)
class SpoiltTag:
    """A tag that cannot be pulled whole, and why; `damaged` unless what it lacks may have been deleted."""

    repository: str
    tag: str
    problem: str
    damaged: bool


@dataclass(slots=True)
class Examined:
    """What was looked at so far; no data is hashed twice."""

    tags: int = 0
    manifests: int = 0
    blobs: int = 0
    hashed: dict[Digest, bool] = field(default_factory=dict)  # and whether it had its digest
    hashed_bytes: int = 0


@dataclass(frozen=True, slots=True)
class _Blob:
    """Where the data of a blob link lies."""

    target: Digest
    key: str
    size_bytes: int


class Examination:
    """One repository's; `hash_blobs` says whether blobs are read and hashed."""

    def __init__(self, store: Store, name: RepositoryName, examined: Examined, *, hash_blobs: bool) -> None:
        self._store = store
        self._together = store.effects.together
        self._trash = Trash(store.driver)
        self._name = name
        self._examined = examined
        self._hash_blobs = hash_blobs
        self._sizes: dict[Digest, int] = {}  # of the blobs that have data
        self._spoilt: dict[Digest, str] = {}  # blobs and manifests
        self._children: dict[Digest, tuple[Digest, ...]] = {}  # of indexes: those that are here
        self._absent: dict[Digest, Digest] = {}  # of indexes: one that is not
        self._odd: set[Digest] = set()  # manifests that cannot be read as one
        self._lengths: dict[Digest, int] = {}  # of manifests
        self._described: dict[tuple[Digest, Digest], int] = {}  # how long an index says that another is

    async def run(self) -> AsyncIterator[Problem | SpoiltTag | None]:
        """What is found; None now and then, when nothing was."""
        links = self._store.links
        blobs = [digest async for digest in links.layers(self._name)]
        for some in handfuls(blobs):
            for digest, found in zip(some, await self._together(map(self._blob, some)), strict=True):
                if isinstance(found, _Blob):
                    self._sizes[digest] = found.size_bytes
                    found = await self._sound(digest, found)
                if isinstance(found, str):
                    yield self._note(digest, found)
                self._examined.blobs += 1
                yield None
        manifests = {digest: digest async for digest in links.manifests(self._name)}
        for some in handfuls(manifests, AT_ONCE // 4):
            for problem in await self._together(self._manifest(digest, manifests) for digest in some):
                yield problem
            self._examined.manifests += len(some)
        for (index, child), size in self._described.items():
            if (length := self._lengths.get(child, size)) != size:
                yield self._note(index, f"it lists {child} with {size} bytes, and it has {length}")
        for tags in handfuls(await links.tags(self._name)):
            for spoilt in await self._together(self._tag(tag, manifests) for tag in tags):
                yield spoilt
            self._examined.tags += len(tags)

    async def _blob(self, digest: Digest) -> _Blob | str | None:
        """Where its data lies, or what is wrong; None when the repository has no such blob."""
        key = layout.layer_link(self._name, digest)
        try:
            try:
                target = await self._store.links.read(key)
            except NotFound:
                # What a policy took is found in the trash by who pulls it.
                taken = await self._trash.layer(self._name, digest)
                if taken is None:
                    return None
                target = taken
            if target != digest and target.algorithm == digest.algorithm:
                return f"its link names other content, {target}"
            return await self._data(target)
        except StorageDamaged:
            return _UNREADABLE
        except (Forbidden, Unavailable) as error:
            # Is it the storage, or this object alone?
            await self._store.driver.stat(key)
            return f"{_UNREADABLE}: {error}"

    async def _data(self, target: Digest) -> _Blob | str:
        driver, key = self._store.driver, layout.blob_data(target)
        try:
            return _Blob(target, key, (await driver.stat(key)).size_bytes)
        except NotFound:
            taken = await self._trash.data_key(target)
        try:
            return _GONE if taken is None else _Blob(target, taken, (await driver.stat(taken)).size_bytes)
        except NotFound:
            return _GONE

    async def _sound(self, digest: Digest, blob: _Blob) -> _Blob | str:
        """The blob, or what is wrong with its bytes."""
        if not self._hash_blobs:
            return blob
        for wanted in dict.fromkeys((blob.target, digest)):
            if wanted not in self._examined.hashed:
                try:
                    found = await self._store.content.hash([blob.key], wanted.algorithm)
                except NotFound:
                    return _GONE
                except (Forbidden, Unavailable) as error:
                    await self._store.driver.stat(blob.key)
                    return f"the bytes cannot be read: {error}"
                self._examined.hashed[wanted] = found == wanted
                self._examined.hashed_bytes += blob.size_bytes
            if not self._examined.hashed[wanted]:
                return "the bytes do not have the digest"
        return blob

    async def _manifest(self, digest: Digest, here: dict[Digest, Digest]) -> Problem | None:
        try:
            stored = await self._read(digest)
        except ManifestUnknown:
            return None
        except NotFound:
            return self._note(digest, _GONE)
        except StorageDamaged as error:
            is_link = isinstance(error.detail, dict) and "link" in error.detail
            return self._note(digest, _UNREADABLE if is_link else "the bytes do not have the digest")
        except (Forbidden, Unavailable) as error:
            await self._store.driver.stat(layout.revision_link(self._name, digest))
            return self._note(digest, f"the bytes cannot be read: {error}")
        self._lengths[digest] = len(stored.content)
        try:
            manifest = await self._store.effects.aside(stored.parse)
        except RegistryError as error:
            self._odd.add(digest)
            told = f"{error.message}; it is served, and nothing here is ever collected"
            return Problem(self._name, str(digest), told, False)
        for child in manifest.children:
            if child.digest not in here and (wrong := await self._wrong(child)) is not None:
                if child.digest in self._spoilt:
                    # A blob, as in buildkit's cache indexes.
                    return self._note(digest, f"it lists {child.digest}: {wrong}")
                self._absent.setdefault(digest, child.digest)
        for child in manifest.children:
            if child.digest in here:
                self._described[digest, here[child.digest]] = child.size_bytes
        self._children[digest] = tuple(here[one.digest] for one in manifest.children if one.digest in here)
        for descriptor in manifest.required_blobs:
            wrong = await self._wrong(descriptor)
            if wrong is not None and await self._store.manifests.exists(self._name, digest):
                return self._note(digest, f"it needs the blob {descriptor.digest}: {wrong}")
        return None

    async def _read(self, digest: Digest) -> StoredManifest:
        try:
            return await self._store.manifests.read(self._name, digest)
        except NotFound:
            # Taken by a run that died: it comes back to who pulls it.
            key = await self._trash.data_key(await self._store.links.revision(self._name, digest))
            if key is None:
                raise
            return await self._store.manifests.read_from(key, digest)

    async def _wrong(self, descriptor: Descriptor) -> str | None:
        """Why the repository does not have the blob as its manifest describes it."""
        digest = descriptor.digest
        if digest not in self._sizes:
            if digest in self._spoilt:
                return self._spoilt[digest]
            # Pushed since the blobs were listed, or not here.
            found = await self._blob(digest) if digest.supported else None
            if not isinstance(found, _Blob):
                return found or "this repository does not have it"
            self._sizes[digest] = found.size_bytes
        size = self._sizes[digest]
        if size != descriptor.size_bytes:
            return f"it has {size} bytes and not {descriptor.size_bytes}"
        return self._spoilt.get(digest)

    async def _tag(self, tag: Tag, here: dict[Digest, Digest]) -> SpoiltTag | None:
        named = None
        while True:
            try:
                digest = await self._store.links.tag(self._name, tag)
            except ManifestUnknown:
                # Whoever deletes a tag takes Distribution's own record of it along.
                left = await self._store.driver.children(layout.tag_index(self._name, tag), limit=1)
                return self._spoilt_tag(tag, "nothing says what it names") if left else None
            except StorageDamaged:
                return self._spoilt_tag(tag, _UNREADABLE)
            if digest in here or await self._store.manifests.exists(self._name, digest):
                break
            if digest == named:
                return self._spoilt_tag(tag, f"it names {digest}, which is not here")
            # It may have moved between the two reads.
            named = digest
        why = self._why(digest, self._spoilt)
        if why is not None:
            return self._spoilt_tag(tag, why)
        if digest in self._odd:
            told = "its manifest cannot be read as one, so what it needs was not looked for"
            return SpoiltTag(self._name, tag, told, damaged=False)
        absent = self._why(digest, self._absent)
        if absent is None:
            return None
        told = f"its index lists {absent}, which is not here: deleted, or never pushed"
        return SpoiltTag(self._name, tag, told, damaged=False)

    def _why(self, digest: Digest, known: dict[Digest, str] | dict[Digest, Digest]) -> str | None:
        """What is known of a manifest, or of one that it lists at any depth."""
        pending, seen = [digest], {digest}
        while pending:
            one = pending.pop()
            if one in known:
                return str(known[one]) if one == digest or known is self._absent else f"{one}: {known[one]}"
            children = [child for child in self._children.get(one, ()) if child not in seen]
            pending += children
            seen.update(children)
        return None

    def _note(self, digest: Digest, problem: str) -> Problem:
        self._spoilt[digest] = problem
        return Problem(self._name, str(digest), problem, True)

    def _spoilt_tag(self, tag: Tag, problem: str) -> SpoiltTag:
        return SpoiltTag(self._name, tag, problem, damaged=True)
