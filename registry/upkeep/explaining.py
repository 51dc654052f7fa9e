"""Why content is here, or is not: what links to it, what needs those links, and what lies in the trash."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from registry.errors import ManifestUnknown, RegistryError
from registry.model.digests import Digest
from registry.model.names import RepositoryName
from registry.model.units import format_duration, format_size
from registry.removal.intents import Intents
from registry.removal.mark import Found, Mark, Step, found, handfuls, targets_of
from registry.removal.trash import Trash
from registry.store import layout, parsing
from registry.store.store import Store
from registry.upkeep.gone import (
    InTrash,
    content_of_link,
    data_in_trash,
    in_quarantine,
    links_in_trash,
    why_gone,
)
from storage.contract import ObjectInfo
from storage.errors import NotFound

_PURGED = "purged, and blocked (`moorage trash purged` says by whom and why)"
_TOLD = 20  # manifests of one repository


@dataclass(frozen=True, slots=True)
class Holder:
    """A repository that links to the content: as a `manifest` or a `blob`, and which manifests need it there.

    `tags` name it, if it is a manifest. `verdict` is what collection makes of the link. A link that stands
    where none does is of the kind `stray`.
    """

    repository: str
    kind: str
    needed_by: list[str]
    tags: list[str]
    verdict: str


@dataclass(frozen=True, slots=True)
class Explained:
    """Why content stays or goes; no `size_bytes` where its data is not here.

    `quarantined` are the keys of what was damaged and set aside.
    """

    digest: str
    size_bytes: int | None
    holders: list[Holder]
    trash: list[InTrash]
    pushes_under_way: bool
    verdict: str
    quarantined: list[str] = field(default_factory=list)

    def told(self) -> str:
        """For people."""
        size = "no data here" if self.size_bytes is None else format_size(self.size_bytes)
        lines = [f"{self.digest} ({size}): {self.verdict}"]
        for holder in self.holders:
            tags = f", tags {', '.join(holder.tags)}" if holder.tags else ""
            lines.append(f"  {holder.kind} of {holder.repository}{tags}: {holder.verdict}")
            lines += [f"    needed by {digest}" for digest in holder.needed_by[:_TOLD]]
            if len(holder.needed_by) > _TOLD:
                lines.append(f"    and by {len(holder.needed_by) - _TOLD} more")
        lines += [f"  {one.told()}" for one in self.trash[:_TOLD]]
        if len(self.trash) > _TOLD:
            lines.append(f"  and {len(self.trash) - _TOLD} more in the trash")
        lines += [f"  in quarantine, for you to look at: {key}" for key in self.quarantined]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What `explain` was asked, and what it goes by."""

    store: Store
    digest: Digest
    now: float
    grace: timedelta
    step: Step
    # What of a manifest lies whole in repositories, since Distribution would refuse it.
    whole: list[ObjectInfo] = field(default_factory=list)


async def explain(store: Store, digest: Digest, *, now: float, grace: timedelta, step: Step) -> Explained:
    """Look for whatever holds on to `digest`; `now` is the time (s) by the store's own clock."""
    asked = _Asked(store, digest, now, grace, step)
    under_way = digest in await Intents(store.driver, store.effects).needed_anywhere()
    holders: list[Holder] = []
    targets = {digest}
    async for repository in found(store, step):
        holders += await _holders(asked, repository, targets)
    trash = await links_in_trash(store, digest, targets, step)
    # A link that Distribution has called after a sha512 contains the sha256 under which the data lies.
    data = [info for one in sorted(targets) if (info := await _info(store, layout.blob_data(one)))]
    lies = next(iter([*data, *asked.whole]), None)
    trash += await data_in_trash(store, targets)
    quarantined = await in_quarantine(store, targets)
    if lies is not None:
        age = None if asked.whole and not data else now - lies.modified_at.timestamp()
        verdict = _of_what_lies(
            age, holders, why_gone(trash, _having(holders)), under_way=under_way, grace=grace
        )
    else:
        verdict = _of_what_is_away(holders, trash, quarantined)
    if store.blocked.of(digest) is not None:
        verdict = f"{_PURGED}; {verdict}"
    size = None if lies is None else lies.size_bytes
    return Explained(str(digest), size, holders, trash, under_way, verdict, quarantined)


async def _holders(asked: _Asked, repository: Found, targets: set[Digest]) -> list[Holder]:
    """Who in a repository holds on to the digest; what links called after it contain goes to `targets`."""
    store, digest, name = asked.store, asked.digest, repository.name
    holders = []
    path = repository.path
    manifests = await _linking(
        asked, [layout.revision_link(path, one) for one in repository.revisions], targets
    )
    whole = None if name is None else await _info(store, layout.whole_manifest(name, digest))
    asked.whole.extend([whole] if whole else [])
    if manifests or whole:
        tags = [] if name is None else await _tags(asked, name)
        stays = "stays: a manifest goes only when somebody deletes it, or a retention rule does"
        holders.append(Holder(repository.path, "manifest", [], tags, stays))
    blobs = await _linking(asked, [layout.layer_link(path, one) for one in repository.layers], targets)
    if blobs:
        needing, verdict = await _judged(asked, repository, blobs)
        holders.append(Holder(repository.path, "blob", needing, [], verdict))
    strays = [key for key in repository.strays if parsing.is_link(key)]
    contents = await store.effects.together(content_of_link(store, key) for key in strays)
    holders += [
        Holder(repository.path, "stray", [], [], f"stays: {key} names it, and does not belong there")
        for key, content in zip(strays, contents, strict=True)
        if content == digest
    ]
    return holders


async def _judged(asked: _Asked, repository: Found, links: list[str]) -> tuple[list[str], str]:
    """Which manifests need a blob, and what collection makes of its links."""
    name = repository.name
    needing: list[str] = []
    troubles = (await Mark(asked.store, Trash(asked.store.driver)).follow(repository, asked.step)).troubles
    unreadable = None
    if name is not None:
        needing, unreadable = await _needing(
            asked, name, {asked.digest, *filter(None, map(parsing.content_of, links))}
        )
    if troubles:
        first = troubles[0]
        return needing, f"stays: {first.content}: {first.problem}, so nothing of the repository is taken"
    if unreadable is not None:
        return needing, f"stays: manifest {unreadable} cannot be read, so what it needs is not known"
    if needing:
        return needing, "stays: needed"
    assert name is not None
    if asked.digest in await Intents(asked.store.driver, asked.store.effects).needed(name):
        return needing, "stays: a push that is under way needs it"
    infos = [info for key in links if (info := await _info(asked.store, key)) is not None]
    ages = [asked.now - info.modified_at.timestamp() for info in infos]
    return needing, f"needed by no manifest: {_goes(min(ages, default=0.0), asked.grace)}"


async def _linking(asked: _Asked, keys: list[str], targets: set[Digest]) -> list[str]:
    """The links that contain the digest, or are called after it; what these contain goes to `targets`."""
    linking = []
    for some in handfuls(keys):
        await asked.step()
        contents = await asked.store.effects.together(content_of_link(asked.store, key) for key in some)
        for key, content in zip(some, contents, strict=True):
            if asked.digest not in (content, parsing.content_of(key)):
                continue
            linking.append(key)
            if content is not None:
                targets.add(content)
    return linking


async def _tags(asked: _Asked, name: RepositoryName) -> list[str]:
    named = await targets_of(asked.store, name, await asked.store.links.tags(name), asked.step)
    return [str(tag) for tag, target in named.items() if target == asked.digest]


async def _needing(
    asked: _Asked, name: RepositoryName, wanted: set[Digest]
) -> tuple[list[str], Digest | None]:
    """The manifests of a repository that refer to any of the digests, and one that cannot be read."""
    store = asked.store
    needing: list[str] = []
    unreadable: Digest | None = None
    async for one in store.links.manifests(name):
        await asked.step()
        try:
            manifest = await store.manifests.parsed(name, one)
        except ManifestUnknown:
            continue
        except (NotFound, RegistryError):
            unreadable = one
            continue
        if any(descriptor.digest in wanted for descriptor in manifest.references):
            needing.append(str(one))
    return needing, unreadable


async def _info(store: Store, key: str) -> ObjectInfo | None:
    try:
        return await store.driver.stat(key)
    except NotFound:
        return None


def _having(holders: list[Holder]) -> set[tuple[str, str]]:
    return {(holder.repository, holder.kind) for holder in holders}


def _goes(age: float, grace: timedelta) -> str:
    if age > grace.total_seconds():
        return "the next collection takes it"
    left = timedelta(seconds=int(grace.total_seconds() - age) + 1)
    return f"it goes when it is older than the grace period, in {format_duration(left.total_seconds())}"


def _of_what_lies(
    age: float | None, holders: list[Holder], gone: str, *, under_way: bool, grace: timedelta
) -> str:
    """What becomes of data of an `age` (s), or (None) of what lies whole in a repository."""
    if under_way:
        return "stays: a push that is under way needs it"
    if holders or age is None:
        return "stays while a repository links to it"
    verdict = f"no repository links to it: {_goes(age, grace)}"
    return f"{verdict}; {gone}" if gone else verdict


def _of_what_is_away(holders: list[Holder], trash: list[InTrash], quarantined: list[str]) -> str:
    """Why there is no data here, and how it comes back."""
    in_trash = any(one.repository is None for one in trash)
    if holders and in_trash:
        return "collected; it comes back from the trash when something needs it"
    if quarantined and (holders or not trash):
        linked = ", though it is linked" if holders else ""
        return f"missing{linked}: it was damaged, and set aside (quarantine); push it again"
    if holders:
        return "missing, though it is linked; push it again"
    if gone := why_gone(trash, ()):
        return gone
    return "collected; it comes back from the trash when something links to it" if in_trash else "not here"
