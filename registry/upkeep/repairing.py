"""What a scrub does about damage when it has seen all: who links to it, and where it can be had again."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field

from registry.core.sources import Source, Sources
from registry.errors import NameInvalid, RegistryError, StorageDamaged
from registry.model.digests import Digest
from registry.model.names import RepositoryName
from registry.removal.mark import Found, Step, found, handfuls
from registry.store import layout, parsing
from registry.store.store import Store
from registry.upkeep.scrub_reports import Damaged, Scrub
from storage.contract import exists
from storage.errors import NotFound, StorageError

# Each may take as long as its upstreams take to fail.
_MOST_WAYS = 10

Save = Callable[[Scrub], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Way:
    """A repository that links to content, and who may have it."""

    name: RepositoryName
    source: Source
    is_manifest: bool


@dataclass(slots=True)
class _Wanted:
    """What is damaged or missing, and the ways to have it again."""

    one: Damaged
    ways: list[_Way] = field(default_factory=list)


class Repairing:
    """What is damaged by a report, in one store; without `sources` it is only told who links to it."""

    def __init__(self, store: Store, report: Scrub, sources: Sources | None, save: Save, step: Step) -> None:
        self._store = store
        self._report = report
        self._sources = sources
        self._save = save
        self._step = step
        self._wanted: dict[Digest, _Wanted] = {}
        # Those that lie whole are their own links.
        self._whole: list[_Wanted] = []

    async def look(self) -> None:
        """Tell who links to what was found; find what is missing where a source may have it."""
        for one in self._report.damaged:
            one.repositories, one.repositories_left_out = [], 0
            if parsing.is_whole_manifest(one.key):
                self._whole.append(wanted := _Wanted(one))
                self._link(wanted, parsing.in_repository(one.key)[0], is_manifest=True)
            else:
                self._wanted[Digest.parse(one.content)] = _Wanted(one)
        if not self._wanted and self._sources is None:
            return
        async for repository in found(self._store, self._step):
            await self._look_at(repository)

    async def repair(self) -> AsyncGenerator[None, None]:
        """Have again what can be had; yields after each. What comes is not what the scrub has to read."""
        for wanted in () if self._report.dry_run else (*self._whole, *self._wanted.values()):
            is_copy = wanted.one.key.startswith(layout.TRASH_DATA)
            if wanted.one.outcome in ("set aside", "missing", "unreadable") and wanted.ways and not is_copy:
                await self._repair(wanted)
                await self._save(self._report)
                yield

    async def _repair(self, wanted: _Wanted) -> None:
        one, digest = wanted.one, Digest.parse(wanted.one.content)
        for way in wanted.ways:
            await self._step()
            try:
                if not await self._is_linked(way, one, digest):
                    continue
                again = way.source.manifest_again if way.is_manifest else way.source.blob_again
                one.source = await again(way.name, digest)
            except (RegistryError, StorageError) as error:
                one.reason = error.message
            else:
                one.outcome, one.reason = "fetched", ""
                self._report.fetched += 1
                return

    async def _look_at(self, repository: Found) -> None:
        # Whether each is a manifest.
        linked = dict.fromkeys(await self._layers(repository), False)
        linked |= dict.fromkeys(repository.revisions, True)
        if self._source(repository.path) is not None:
            unknown = (one for one in linked if one not in self._wanted and self._may_have(one))
            for some in handfuls(unknown):
                await self._step()
                there = await self._store.effects.together(self._is_there(digest) for digest in some)
                for digest, is_there in zip(some, there, strict=True):
                    if not is_there:
                        self._wanted[digest] = _Wanted(self._missing(digest))
        for digest, is_manifest in linked.items():
            if digest in self._wanted:
                self._link(self._wanted[digest], repository.path, is_manifest=is_manifest)

    def _link(self, wanted: _Wanted, path: str, *, is_manifest: bool) -> None:
        wanted.one.linked_by(path)
        source = self._source(path)
        if source is not None and len(wanted.ways) < _MOST_WAYS:
            wanted.ways.append(_Way(RepositoryName(path), source, is_manifest))

    async def _layers(self, repository: Found) -> list[Digest]:
        """What its blob links contain; some of Distribution's are called after another digest."""
        contained = [digest for digest in repository.layers if digest.algorithm == "sha256"]
        for some in handfuls(digest for digest in repository.layers if digest.algorithm != "sha256"):
            await self._step()
            keys = [layout.layer_link(repository.path, one) for one in some]
            targets = await self._store.effects.together(self._target(key) for key in keys)
            contained += [target for target in targets if target is not None]
        return contained

    def _source(self, path: str) -> Source | None:
        try:
            return None if self._sources is None else self._sources.of(RepositoryName(path))
        except NameInvalid:
            return None

    def _may_have(self, digest: Digest) -> bool:
        return digest.supported and digest not in self._store.blocked.digests

    def _missing(self, digest: Digest) -> Damaged:
        one = self._report.note(str(digest), layout.blob_data(digest), self._store.effects.now())
        one.outcome = "missing"
        return one

    async def _is_there(self, digest: Digest) -> bool:
        """Whether there are bytes, or a pull brings them back."""
        driver = self._store.driver
        return await exists(driver, layout.blob_data(digest)) or bool(
            await driver.children(layout.trash_data(digest), limit=1)
        )

    async def _is_linked(self, way: _Way, one: Damaged, digest: Digest) -> bool:
        """Whether the repository still has it: what somebody has deleted meanwhile stays away."""
        if parsing.is_whole_manifest(one.key):
            return await self._store.catalog.is_listed(way.name)
        link = layout.revision_link if way.is_manifest else layout.layer_link
        return await exists(self._store.driver, link(way.name, digest))

    async def _target(self, key: str) -> Digest | None:
        try:
            return await self._store.links.read(key)
        except (NotFound, StorageDamaged):
            return None
