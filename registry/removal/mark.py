"""The mark: what the links of a whole store hold on to, read from the links themselves.

Nothing derived decides here. A link is followed by what it contains; of what cannot be read everything stays.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Container, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

from registry.errors import ManifestUnknown, NameInvalid, RegistryError, StorageDamaged
from registry.model.digests import Digest
from registry.model.manifests import Manifest
from registry.model.names import RepositoryName, Tag
from registry.removal.trash import Trash
from registry.store import layout, parsing
from registry.store.store import Store
from storage.contract import Driver
from storage.errors import Forbidden, NotFound, StorageError

T = TypeVar("T")

AT_ONCE = 64  # links or manifests under way together
Step = Callable[[], Awaitable[None]]
"""Called between two handfuls of work: it may take its time, and raises when the work must stop."""


def short(digest: Digest) -> int:
    """64 bits of a digest, a fifth of its size in memory: of two that share them neither is taken."""
    return int(digest.encoded[:16].ljust(16, "0"), 16)


@dataclass(frozen=True, slots=True)
class Trouble:
    """What cannot be read, or does not belong there, and so keeps what is around it: where, what, and why."""

    repository: str
    content: str
    problem: str


def shut(repository: str, error: Forbidden) -> Trouble:
    """What keeps all that is around a directory that may not be read."""
    return Trouble(repository, error.key, f"this directory may not be read: {error.message}")


@dataclass(slots=True)
class Found:
    """What a walk finds of a repository in Distribution's layout; `name` is None where it cannot be one.

    Where a directory is `closed`, which may not be read, it may have any other links.
    """

    path: str
    name: RepositoryName | None
    layers: list[Digest] = field(default_factory=list)
    revisions: list[Digest] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)
    closed: Trouble | None = None

    def add(self, key: str, place: str) -> None:
        """Sort a key in."""
        kind, digest = parsing.linked_at(place)
        if digest is not None:
            (self.layers if kind == "layer" else self.revisions).append(digest)
        elif kind == "stray":
            self.strays.append(key)

    @property
    def links(self) -> tuple[tuple[list[Digest], Callable[[str, Digest], str]], ...]:
        """What its links of each kind are called after, and where those lie."""
        return (self.layers, layout.layer_link), (self.revisions, layout.revision_link)


async def found(store: Store, step: Step, *, past_closed: bool = False) -> AsyncIterator[Found]:
    """Every repository of the tree, in one walk over all links.

    Raises storage Forbidden at a directory that may not be read; `past_closed` ones it goes on, with the
    next repository.
    """
    current: Found | None = None
    count = 0
    async for key, closed in walked_past(store.driver, layout.REPOSITORIES, _behind_repository):
        if closed is not None and not past_closed:
            raise closed
        count += 1
        if count % (AT_ONCE * 16) == 0:
            await step()
        path, place = parsing.in_repository(key)
        if current is None or current.path != path:
            if current is not None:
                yield current
            current = Found(path, _name(path))
        if closed is None:
            current.add(key, place)
        else:
            told = f"this directory may not be read, so no data was taken or destroyed: {closed.message}"
            current.closed = Trouble(path, key, told)
    if current is not None:
        yield current


def _behind_repository(key: str) -> str:
    """The key behind all that a repository has, of which a directory may not be read."""
    path, place = parsing.in_repository(key)
    return f"{layout.REPOSITORIES}/{path}/_~" if place else behind(key)


def behind(directory: str) -> str:
    """The key behind all that lies in a directory: "0" is what follows upon "/"."""
    return f"{directory}0"


async def walked_past(
    driver: Driver, prefix: str, next_: Callable[[str], str] = behind, *, after: str = ""
) -> AsyncIterator[tuple[str, Forbidden | None]]:
    """Every key below a prefix, and each directory that may not be read, with why.

    `next_` says behind which key to go on after such a one. Raises storage Forbidden at the prefix itself.
    """
    while True:
        try:
            async for key in driver.walk(prefix, after=after):
                yield key, None
            return
        except Forbidden as error:
            further = next_(error.key)
            if not error.key.startswith(f"{prefix}/") or further <= after:
                raise
            closed, after = error, further
        yield closed.key, closed


@dataclass(slots=True)
class Needed:
    """Which of its blobs the manifests of a repository need, by their `short`s, as far as `read`."""

    # What it has blobs of: only these are kept in mind, since an index may list any number of others.
    blobs: set[int] = field(default_factory=set)
    digests: set[int] = field(default_factory=set)
    read: set[Digest] = field(default_factory=set)
    aliases: dict[int, int] = field(default_factory=dict)
    troubles: list[Trouble] = field(default_factory=list)

    def need(self, digests: Iterable[int]) -> None:
        """Note digests; whose link contains another, needs that one's too."""
        for digest in self.blobs.intersection(digests):
            self.digests.add(digest)
            if digest in self.aliases:
                self.digests.add(self.aliases[digest])

    def needs(self, digest: Digest) -> bool:
        """Whether something is known to need it, or it cannot be known."""
        return bool(self.troubles) or short(digest) in self.digests


class Mark:
    """What is linked anywhere in a store; `linked` has the `short`s of data, about 80 bytes for each."""

    def __init__(self, store: Store, trash: Trash) -> None:
        self._store = store
        self._trash = trash
        self.linked: set[int] = set()
        # Whether some link may hold on to data that is not in `linked`, since it could not be read just now.
        self.is_unsure = False

    async def follow(self, repository: Found, step: Step) -> Needed:
        """Note what the links of a repository contain, and what its manifests' links hold on to."""
        needed = Needed({short(digest) for digest in repository.layers})
        name = repository.path
        if repository.name is None:
            needed.troubles.append(Trouble(name, repository.path, "this is no name of a repository"))
        if repository.closed is not None:
            self.is_unsure = True
            needed.troubles.append(repository.closed)
        needed.troubles += [Trouble(name, key, "nothing of this kind lies here") for key in repository.strays]
        for digests, link in repository.links:
            for some in handfuls(digests):
                await step()
                targets = await self._store.effects.together(
                    self._target(link(name, digest)) for digest in some
                )
                for digest, target in zip(some, targets, strict=True):
                    if isinstance(target, Trouble):
                        needed.troubles.append(target)
                    elif target is not None and target != digest:
                        needed.aliases[short(digest)] = short(target)
        # Links of a kind that we do not know hold on to what they contain all the same.
        for keys in handfuls(key for key in repository.strays if parsing.is_link(key)):
            targets = await self._store.effects.together(self._target(key) for key in keys)
            self.linked |= {short(target) for target in targets if isinstance(target, Digest)}
        self._hold(repository.revisions, needed)
        return needed

    def hold(self, repository: Found, needed: Needed, taken: Container[Digest] = ()) -> None:
        """Note what those blob links hold on to that were not taken."""
        self._hold((digest for digest in repository.layers if digest not in taken), needed)

    def _hold(self, digests: Iterable[Digest], needed: Needed) -> None:
        for digest in map(short, digests):
            self.linked.add(digest)
            if digest in needed.aliases:
                self.linked.add(needed.aliases[digest])

    async def read(
        self,
        name: RepositoryName,
        digests: Iterable[Digest],
        needed: Needed,
        step: Step,
        *,
        followed: bool = False,
    ) -> None:
        """Read manifests of a repository that were not yet read; what they refer to is needed.

        The links of those that were `followed` are not read again: one removed since keeps what it needs,
        for this once.
        """
        unread = (digest for digest in digests if digest not in needed.read)
        for some in handfuls(unread):
            await step()
            all_references = await self._store.effects.together(
                self._references(name, digest, followed=followed and short(digest) not in needed.aliases)
                for digest in some
            )
            for digest, references in zip(some, all_references, strict=True):
                if references is None:
                    continue  # gone meanwhile; it may come back, and is read then
                needed.read.add(digest)
                if isinstance(references, Trouble):
                    needed.troubles.append(references)
                else:
                    needed.need(references)

    async def _target(self, key: str) -> Digest | Trouble | None:
        try:
            return await self._store.links.read(key)
        except NotFound:
            return None
        except StorageDamaged:
            return Trouble(parsing.in_repository(key)[0], key, "the link cannot be read")
        except StorageError as error:
            self.is_unsure = True
            return Trouble(parsing.in_repository(key)[0], key, f"the link cannot be read: {error}")

    async def _references(
        self, name: RepositoryName, digest: Digest, *, followed: bool
    ) -> list[int] | Trouble | None:
        try:
            manifest = await self._manifest(name, digest, followed=followed)
        except (ManifestUnknown, NotFound) as error:
            if isinstance(error, ManifestUnknown):
                return None
            return Trouble(name, str(digest), "the manifest's bytes are missing")
        except (RegistryError, StorageError) as error:
            return Trouble(name, str(digest), f"the manifest cannot be read: {error}")
        return [short(descriptor.digest) for descriptor in manifest.references]

    async def _manifest(self, name: RepositoryName, digest: Digest, *, followed: bool) -> Manifest:
        if followed:
            with suppress(NotFound):
                stored = await self._store.manifests.read_linked(digest, digest)
                return await self._store.effects.aside(stored.parse)
        try:
            stored = await self._store.manifests.read(name, digest)
        except NotFound:
            # Taken by a run that died, and to come back at the end of this one.
            key = await self._trash.data_key(await self._store.links.revision(name, digest))
            if key is None:
                raise
            stored = await self._store.manifests.read_from(key, digest)
        return await self._store.effects.aside(stored.parse)


async def linked_of(store: Store, wanted: set[int], step: Step) -> set[int]:
    """Which of the digests `wanted` (by their `short`s) some link of the store holds on to now.

    A link whose own digest is of the algorithm that all our data has contains that digest or nothing that was
    not seen by a `Mark` before; others are read.
    """
    held: set[int] = set()
    async for repository in found(store, step):
        for digests, link in repository.links:
            held |= wanted.intersection(short(digest) for digest in digests)
            others = [digest for digest in digests if digest.algorithm != "sha256"]
            for some in handfuls(others):
                await step()
                contents = await store.effects.together(
                    _content(store, link(repository.path, one)) for one in some
                )
                # What cannot be read just now may hold on to any of them.
                held |= wanted if None in contents else wanted.intersection(contents)
    return held


async def _content(store: Store, key: str) -> int | None:
    try:
        return short(await store.links.read(key))
    except (NotFound, StorageDamaged):
        return -1
    except StorageError:
        return None


async def targets_of(
    store: Store, name: RepositoryName, tags: Iterable[Tag], step: Step
) -> dict[Tag, Digest | None]:
    """What tags of a repository name; None where that is nothing, or cannot be read."""
    found: dict[Tag, Digest | None] = {}
    for some in handfuls(tags):
        await step()
        digests = await store.effects.together(store.links.target(name, tag) for tag in some)
        found.update(zip(some, digests, strict=True))
    return found


def _name(path: str) -> RepositoryName | None:
    try:
        return RepositoryName(path)
    except NameInvalid:
        return None


def handfuls(items: Iterable[T], size: int = AT_ONCE) -> Iterator[list[T]]:
    """The items in their order, so many at a time."""
    pending = iter(items)
    while some := list(islice(pending, size)):
        yield some


async def handfuls_of(items: AsyncIterator[T], size: int) -> AsyncIterator[list[T]]:
    """The same of what comes by and by."""
    some: list[T] = []
    async for item in items:
        some.append(item)
        if len(some) == size:
            yield some
            some = []
    if some:
        yield some
