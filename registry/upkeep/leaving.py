"""Tells what CNCF Distribution would not see of a store; changes nothing.

It serves what lies in its own layout. The rest is ours, below `_moorage/`, and goes with that directory.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field

from registry.errors import StorageDamaged
from registry.model.digests import Digest
from registry.model.names import RepositoryName
from registry.removal.mark import linked_of, short, targets_of
from registry.store import layout, parsing
from registry.store.store import Store
from registry.work.operations import Progress
from registry.work.pace import let_others
from storage.contract import exists
from storage.errors import NotFound

_LISTED = 10_000
_SHOWN = 50


@dataclass(frozen=True, slots=True)
class Unseen:
    """A manifest that Distribution would refuse or answer under another type, and the tags that name it."""

    repository: str
    digest: str
    media_type: str
    tags: list[str]


@dataclass(slots=True)
class Left:
    """What Distribution would not see.

    `only_in_trash` is content that is linked and whose data a collection has in its hands; `left_out` counts
    the manifests that are not listed.
    """

    repositories: int = 0
    unseen: list[Unseen] = field(default_factory=list)
    left_out: int = 0
    only_in_trash: int = 0
    removals_under_way: int = 0

    @property
    def loses(self) -> bool:
        """Whether something that can be pulled here could not be pulled there."""
        return bool(self.unseen or self.only_in_trash or self.removals_under_way)

    def told(self) -> str:
        """What would be lost, and how to leave."""
        lines = [f"repositories: {self.repositories}"]
        if self.unseen:
            lines.append(f"manifests that Distribution would not see: {len(self.unseen) + self.left_out}")
            for one in self.unseen[:_SHOWN]:
                tags = f", tags {', '.join(one.tags)}" if one.tags else ""
                lines.append(f"  {one.repository}@{one.digest} ({one.media_type}){tags}")
            more = len(self.unseen) + self.left_out - _SHOWN
            lines += [f"  and {more} more"] if more > 0 else []
        if self.only_in_trash or self.removals_under_way:
            lines.append(
                f"in the hands of a removal: blobs {self.only_in_trash}, removals {self.removals_under_way};"
                " run `moorage gc run` and ask again"
            )
        if not self.loses:
            lines.append(
                "Distribution would find all of it; `moorage storage check` says whether it is sound"
            )
        lines.append(
            "to leave: end all servers, and serve the same place with Distribution. Who will not come back"
            " removes _moorage/ then; history, trash, accounts, keys and the audit trail go with it"
        )
        return "\n".join(lines)


async def look_back(store: Store, left: Left) -> AsyncIterator[Progress]:
    """Fill in `left`."""
    async for name in store.catalog.tree():
        left.repositories += 1
        tags: dict[Digest, list[str]] | None = None
        async for digest in store.links.whole_manifests(name):
            if len(left.unseen) >= _LISTED:
                left.left_out += 1
                continue
            tags = await _tags(store, name) if tags is None else tags
            # Deleted meanwhile it is no loss.
            with suppress(NotFound):
                media_type = await _type(store, name, digest)
                left.unseen.append(Unseen(name, str(digest), media_type, tags.get(digest, [])))
        yield Progress(left.repositories, None, "items", name)
    wanted: set[int] = set()
    async for key in store.driver.walk(layout.TRASH_DATA):
        taken = parsing.trashed_data(key)
        if taken is not None and not await exists(store.driver, layout.blob_data(taken[0])):
            wanted.add(short(taken[0]))
    left.only_in_trash = len(await linked_of(store, wanted, let_others)) if wanted else 0
    left.removals_under_way = len(await store.driver.children(layout.TRASH_OPEN))


async def _tags(store: Store, name: RepositoryName) -> dict[Digest, list[str]]:
    """The tags of a repository by what they name."""
    named: dict[Digest, list[str]] = {}
    for tag, target in (await targets_of(store, name, await store.links.tags(name), let_others)).items():
        if target is not None:
            named.setdefault(target, []).append(tag)
    return named


async def _type(store: Store, name: RepositoryName, digest: Digest) -> str:
    try:
        return (await store.manifests.read_whole_from(layout.whole_manifest(name, digest), digest)).media_type
    except StorageDamaged:
        return "damaged"
