"""What repositories hold, each byte counted once: in each, in each prefix, and what is nowhere else.

One walk over all links, in which all that lies below a prefix comes in one piece. So content is new to a
prefix unless it was last seen there; and what would be free without a prefix is what has all of its links
there: of each blob the deepest place is kept that is above all repositories that have it.
"""

from __future__ import annotations

from array import array
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from dataclasses import dataclass, field

from registry.errors import StorageDamaged
from registry.model.digests import Digest
from registry.model.names import RepositoryName
from registry.removal.mark import Found, Mark, Needed, Step, found, handfuls, short
from registry.removal.trash import Trash
from registry.store import layout
from registry.store.store import Store
from registry.upkeep.usage_reports import Count, Row
from storage.errors import NotFound

_EVERYWHERE = 0
_NOWHERE = 0xFFFFFFFF


@dataclass(slots=True)
class Place:
    """A prefix, or what a repository has itself; `needed` are the halves of what counts for a quota."""

    name: str
    parent: int
    is_repository: bool
    size_bytes: int = 0
    needed_bytes: int = 0
    freed_bytes: int = 0
    blobs: int = 0
    repositories: int = 0
    needed: list[int] | None = None


class Ledger:
    """Who has what, entered repository by repository in the order of a walk.

    160 bytes for each blob or manifest of the store, 500 for each repository and prefix, and 8 for each blob
    that counts for a quota.
    """

    def __init__(self, quotas: Collection[str] = ()) -> None:
        self._quotas = frozenset(quotas)
        self.places = [Place("", _EVERYWHERE, is_repository=False)]
        self._prefixes = {"": _EVERYWHERE}
        self._index: dict[int, int] = {}
        self._sizes = array("Q")
        # Of each blob: where it was seen last, where it was needed last, and what is above all who have it.
        self._last, self._needed, self._above = array("I"), array("I"), array("I")
        self._chain = [_EVERYWHERE]
        self._shared: dict[int, int] = {}

    def enter(self, name: RepositoryName | None) -> None:
        """What comes now is of this repository; None where it can have no name, and so is below no prefix."""
        self._shared = {}
        self._chain = [_EVERYWHERE]
        if name is not None:
            path = name.split("/")
            for depth in range(1, len(path) + 1):
                self._chain.append(self._prefix("/".join(path[:depth])))
            self.places.append(Place(name, self._chain[-1], is_repository=True))
            self._chain.append(len(self.places) - 1)
        for place in self._chain:
            self.places[place].repositories += 1

    def knows(self, key: int) -> bool:
        """Whether content was entered before, and so its size."""
        return key in self._index

    def hold(self, key: int, size_bytes: int, *, needed: bool) -> None:
        """The repository has content; `needed` says whether that is a manifest, or one refers to it."""
        at = self._index.get(key)
        here = self._chain[-1]
        if at is None:
            at = self._index[key] = len(self._sizes)
            self._sizes.append(size_bytes)
            self._last.append(_NOWHERE)
            self._needed.append(_NOWHERE)
            self._above.append(here)
        size = self._sizes[at]
        for place in self._new(self._last[at]):
            place.size_bytes += size
            place.blobs += 1
        self._above[at] = self._chain[self._depth(self._above[at])]
        if needed:
            for place in self._new(self._needed[at]):
                place.needed_bytes += size
                if place.needed is not None:
                    place.needed.append(key)
        # What is below no prefix comes between others, and says nothing of where they were seen.
        if here != _EVERYWHERE or self._last[at] == _NOWHERE:
            self._last[at] = here
        if needed and (here != _EVERYWHERE or self._needed[at] == _NOWHERE):
            self._needed[at] = here

    def close(self) -> None:
        """All was entered: reckon what each place would free."""
        for above, size in zip(self._above, self._sizes, strict=True):
            self.places[above].freed_bytes += size
        # Whatever is below a place was made after it.
        for place in reversed(self.places[1:]):
            self.places[place.parent].freed_bytes += place.freed_bytes

    def rows(self) -> Iterator[Row]:
        """What there is to tell of each repository, and of each prefix that has more than one."""
        for place in self.places[1:]:
            if place.is_repository or place.repositories > 1:
                yield Row(
                    place.name if place.is_repository else f"{place.name}/",
                    place.size_bytes,
                    place.size_bytes - place.needed_bytes,
                    place.freed_bytes,
                    place.repositories,
                    place.blobs,
                )

    def prefix(self, name: str) -> Place | None:
        """What is below a prefix; None when that is nothing."""
        at = self._prefixes.get(name)
        return None if at is None else self.places[at]

    def _prefix(self, name: str) -> int:
        at = self._prefixes.get(name)
        if at is None:
            at = self._prefixes[name] = len(self.places)
            needed: list[int] | None = [] if name in self._quotas else None
            self.places.append(Place(name, self._chain[-1], is_repository=False, needed=needed))
        return at

    def _new(self, last: int) -> Iterator[Place]:
        """The places of this repository to which content is new that was last seen elsewhere."""
        first = 0 if last == _NOWHERE else self._depth(last) + 1
        return (self.places[place] for place in self._chain[first:])

    def _depth(self, place: int) -> int:
        """How deep this repository's way down and that to another place are the same."""
        depth = self._shared.get(place)
        if depth is None:
            above = place
            while above not in self._chain:
                above = self.places[above].parent
            depth = self._shared[place] = self._chain.index(above)
        return depth


@dataclass(slots=True)
class _Held:
    """What a repository has: each blob's link with what it contains, manifests, and those that lie whole."""

    blobs: list[tuple[Digest, Digest]] = field(default_factory=list)
    manifests: list[tuple[Digest, Digest]] = field(default_factory=list)
    whole: list[Digest] = field(default_factory=list)


async def count(store: Store, ledger: Ledger, report: Count, step: Step) -> AsyncIterator[None]:
    """Enter every repository of a store into the ledger; yields after each."""
    mark = Mark(store, Trash(store.driver))
    async for repository in found(store, step):
        name = repository.name
        held = await _held(store, repository, report, step)
        needed = Needed({short(link) for link, _ in held.blobs})
        needed.aliases = {short(link): short(target) for link, target in held.blobs if link != target}
        if name is not None:
            manifests = [*(link for link, _ in held.manifests), *held.whole]
            await mark.read(name, manifests, needed, step)
            report.unread += len(needed.troubles)
        ledger.enter(name)
        keys = [layout.blob_data(target) for _, target in (*held.manifests, *held.blobs)]
        targets = [target for _, target in (*held.manifests, *held.blobs)]
        if name is not None:
            keys += [layout.whole_manifest(name, digest) for digest in held.whole]
            targets += held.whole
        is_needed = [True] * len(held.manifests)
        is_needed += [name is None or needed.needs(link) for link, _ in held.blobs]
        is_needed += [True] * (len(targets) - len(is_needed))
        for some in handfuls(zip(targets, keys, is_needed, strict=True)):
            await step()
            unknown = {target: key for target, key, _ in some if not ledger.knows(target.half)}
            sizes = await store.effects.together(_size(store, key) for key in unknown.values())
            known = dict(zip(unknown, sizes, strict=True))
            for target, _, one_is_needed in some:
                size = known.get(target, 0)
                if size is None:
                    report.missing += 1
                else:
                    ledger.hold(target.half, size, needed=one_is_needed)
        report.repositories += 1
        yield
    ledger.close()
    everywhere = ledger.places[0]
    report.blobs, report.size_bytes = everywhere.blobs, everywhere.size_bytes
    report.unneeded_bytes = everywhere.size_bytes - everywhere.needed_bytes


async def _held(store: Store, repository: Found, report: Count, step: Step) -> _Held:
    held = _Held()
    for (digests, link), into in zip(repository.links, (held.blobs, held.manifests), strict=True):
        into += [(digest, digest) for digest in digests if digest.algorithm == "sha256"]
        # All data that a link of that algorithm can name has the digest of its path.
        others = [digest for digest in digests if digest.algorithm != "sha256"]
        for some in handfuls(others):
            await step()
            keys = [link(repository.path, one) for one in some]
            targets = await store.effects.together(_target(store, key, report) for key in keys)
            pairs = zip(some, targets, strict=True)
            into += [(digest, target) for digest, target in pairs if target is not None]
    if repository.name is not None:
        held.whole = [digest async for digest in store.links.whole_manifests(repository.name)]
    return held


async def _target(store: Store, link: str, report: Count) -> Digest | None:
    try:
        return await store.links.read(link)
    except NotFound:
        return None
    except StorageDamaged:
        report.unread += 1
        return None


async def _size(store: Store, key: str) -> int | None:
    try:
        return (await store.driver.stat(key)).size_bytes
    except NotFound:
        return None


def largest(rows: Sequence[Row], most: int) -> list[Row]:
    """The rows with the most bytes, the largest first."""
    return sorted(rows, key=lambda row: (-row.size_bytes, row.name))[:most]
