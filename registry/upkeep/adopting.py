"""Takes over a store that another program has written: examines it, and writes what is ours beside it.

Nothing of the other program's is changed, so the store can be left again. It may be done again at any time,
and while servers are at work.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from registry.core.listings import Listings
from registry.core.registry import Registry
from registry.errors import Unsupported
from registry.model.digests import Digest
from registry.model.units import format_size
from registry.removal.mark import Found, found, handfuls, short
from registry.store import layout
from registry.upkeep.check import Leading, Problem, leading_out
from registry.upkeep.examining import Examination, Examined, SpoiltTag
from registry.work.effects import bounded_effects
from registry.work.operations import Progress
from registry.work.pace import let_others
from registry.work.reports import append, listed
from storage.contract import exists
from storage.errors import NotFound

_LISTED = 10_000  # findings of a kind; of more the number is told
_SHOWN = 50


@dataclass(slots=True)
class Adopted:
    """What is there, what of it is spoilt, and whether it was made ours.

    `hashed_bytes` is None where no blob was to be read; `left_out` counts the findings that are in no list.
    """

    dry_run: bool
    repositories: int = 0
    tags: int = 0
    manifests: int = 0
    blobs: int = 0
    referrers: int = 0
    hashed_bytes: int | None = None
    spoilt_tags: list[SpoiltTag] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    left_out: int = 0
    damaged: bool = False

    def note(self, one: Problem | SpoiltTag) -> None:
        """Put it into its list."""
        self.damaged |= one.damaged
        if isinstance(one, SpoiltTag):
            self.left_out += append(self.spoilt_tags, one, _LISTED)
        else:
            self.left_out += append(self.problems, one, _LISTED)

    def told(self) -> str:
        """For people: what there is, then what cannot be pulled, then why."""
        hashed = "none (--hash-blobs)" if self.hashed_bytes is None else format_size(self.hashed_bytes)
        done = (
            "nothing was written (--dry-run)"
            if self.dry_run
            else "adopted; nothing that was here was changed"
        )
        counts = f"repositories: {self.repositories}, tags: {self.tags}, manifests: {self.manifests}"
        counts += f", blobs: {self.blobs}, referrers: {self.referrers}, bytes hashed: {hashed}"
        lines = [done, counts]
        tags = [(f"{one.repository}:{one.tag}", one) for one in self.spoilt_tags]
        others = [(f"{one.repository} {one.content}", one) for one in self.problems]
        for title, all_of_a_kind, damaged in (
            ("tags that cannot be pulled whole", tags, True),
            ("tags that lack something, which may be meant so", tags, False),
            ("damaged", others, True),
            ("no damage, but odd", others, False),
        ):
            some = [f"  {what}: {one.problem}" for what, one in all_of_a_kind if one.damaged == damaged]
            lines += [f"{title}: {len(some)}", *listed(some, _SHOWN)] if some else []
        lines += [f"more, which are not listed: {self.left_out}"] if self.left_out else []
        return "\n".join([*lines, *([] if self.spoilt_tags or self.problems else ["no problems"])])


class Adopting:
    """One adoption; `adopted` is what came of it so far."""

    def __init__(
        self, registry: Registry, *, hash_blobs: bool, dry_run: bool, leading: Leading | None = None
    ) -> None:
        # A link that leads to nothing must not be answered for by another repository's, or by a cache.
        self._store = registry.store.uncached(bounded_effects(registry.store.effects))
        self._registry = registry
        self._listings = Listings(self._store, registry.may_write)
        self._hash_blobs = hash_blobs
        self._leading = leading
        self._examined = Examined()
        self._links = self._bytes = 0
        self.adopted = Adopted(dry_run)

    @property
    def found_wrong_bytes(self) -> bool:
        """Whether any blob was hashed and has not its digest."""
        return not all(self._examined.hashed.values())

    async def run(self) -> AsyncIterator[Progress]:
        """Do it. Raises Unsupported where there is nothing to adopt."""
        await self._require_something()
        async for problem in leading_out(self._leading):
            self.adopted.note(problem)
        async for progress in self._count():
            yield progress
        async for repository in found(self._store, let_others):
            if repository.name is not None:
                async for progress in self._adopt(repository):
                    yield progress
        if not self.adopted.dry_run:
            await self._finish()

    async def _require_something(self) -> None:
        if await self._store.driver.children(layout.DISTRIBUTION, limit=1):
            return
        # Begun by ourselves, and nothing was ever pushed.
        if await exists(self._store.driver, layout.FORMAT):
            return
        raise Unsupported(
            f"there is nothing to adopt: nothing lies under {layout.DISTRIBUTION}/ here. The directory, or"
            " storage.s3.prefix in a bucket, must be what Distribution calls `rootdirectory`"
        )

    async def _count(self) -> AsyncIterator[Progress]:
        """How much there is to look at, and what does not belong there."""
        seen: set[int] = set()
        async for repository in found(self._store, let_others):
            if repository.name is None:
                told = "this is no name of a repository; nothing of it is served or ever collected"
                self.adopted.note(Problem(repository.path, repository.path, told, False))
            for stray in repository.strays if repository.name is not None else ():
                told = "nothing of this kind lies here; nothing of its repository is ever collected"
                self.adopted.note(Problem(repository.path, stray, told, False))
            self._links += len(repository.layers) + len(repository.revisions)
            if self._hash_blobs:
                for some in handfuls(repository.layers):
                    new = [digest for digest in some if short(digest) not in seen]
                    seen.update(map(short, new))
                    sizes = await self._store.effects.together(map(self._size, new))
                    self._bytes += sum(sizes)
            yield Progress(self._links, None, "items", "counting")

    async def _size(self, digest: Digest) -> int:
        try:
            return (await self._store.content.stat(digest)).size_bytes
        except NotFound:
            return 0

    async def _adopt(self, repository: Found) -> AsyncIterator[Progress]:
        name = repository.name
        assert name is not None
        has_manifests = await self._store.catalog.holds_content(name)
        self.adopted.repositories += has_manifests
        examination = Examination(self._store, name, self._examined, hash_blobs=self._hash_blobs)
        async for one in examination.run():
            if one is not None:
                self.adopted.note(one)
            yield self._progress(name)
        self._take_figures()
        if has_manifests and not self.adopted.dry_run:
            self._registry.require_writable()
            self.adopted.referrers += await self._listings.index(name, beside=True)
            yield self._progress(name)

    def _take_figures(self) -> None:
        examined = self._examined
        self.adopted.tags = examined.tags
        self.adopted.manifests = examined.manifests
        self.adopted.blobs = examined.blobs
        self.adopted.hashed_bytes = examined.hashed_bytes if self._hash_blobs else None

    def _progress(self, text: str) -> Progress:
        if self._hash_blobs:
            done = self._examined.hashed_bytes
            return Progress(done, max(done, self._bytes), "bytes", text)
        done = self._examined.blobs + self._examined.manifests
        return Progress(done, max(done, self._links), "items", text)

    async def _finish(self) -> None:
        """Index what only we have, if this was ours before; then say that it is ours."""
        catalog = self._store.catalog
        async for name in catalog.tree():
            if not await catalog.is_indexed(name):
                self._registry.require_writable()
                self.adopted.referrers += await self._listings.index(name, beside=True)
        self._registry.require_writable()
        await catalog.set_complete()
        await self._store.marks.put_format()
