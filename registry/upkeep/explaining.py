"""Why content is here, or is not: what links to it, what needs those links, and what lies in the trash."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from registry.errors import ManifestUnknown, RegistryError
from registry.model.digests import Digest
from registry.model.names import RepositoryName
from registry.model.units import format_duration, format_size
from registry.removal.intents import Intents
from registry.removal.mark import Found, Mark, Step, found, handfuls, targets_of
from registry.removal.runs import Runs
from registry.removal.trash import Trash
from registry.store import layout, parsing
from registry.store.store import Store
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
class InTrash:
    """A copy in the trash, by what removal, of when, and by whom."""

    run: str
    at: str
    by: str


@dataclass(frozen=True, slots=True)
class Explained:
    """Why content stays or goes; no `size_bytes` where its data is not here."""

    digest: str
    size_bytes: int | None
    holders: list[Holder]
    trash: list[InTrash]
    pushes_under_way: bool
    verdict: str

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
        lines += [f"  in the trash since {one.at}, by {one.by}: {one.run}" for one in self.trash]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What `explain` was asked, and what it goes by."""

    store: Store
    digest: Digest
    now: float
    grace: timedelta
    step: Step


async def explain(store: Store, digest: Digest, *, now: float, grace: timedelta, step: Step) -> Explained:
    """Look for whatever holds on to `digest`; `now` is the time (s) by the store's own clock."""
    asked = _Asked(store, digest, now, grace, step)
    under_way = digest in await Intents(store.driver, store.effects).needed_anywhere()
    holders: list[Holder] = []
    targets = {digest}
    async for repository in found(store, step):
        holders += await _holders(asked, repository, targets)
    # A link that Distribution has called after a sha512 contains the sha256 under which the data lies.
    lying = [one for one in sorted(targets) if await _age(store, layout.blob_data(one), now) is not None]
    data = lying[0] if lying else digest
    size = (await store.content.stat(data)).size_bytes if lying else None
    age = await _age(store, layout.blob_data(data), now)
    trash = [copy for one in sorted(targets) for copy in await _trash(store, one)]
    verdict = _verdict(age, holders, trash, under_way=under_way, grace=grace)
    if store.blocked.of(digest) is not None:
        verdict = f"{_PURGED}; {verdict}"
    return Explained(str(digest), size, holders, trash, under_way, verdict)


async def _holders(asked: _Asked, repository: Found, targets: set[Digest]) -> list[Holder]:
    """Who in a repository holds on to the digest; what links called after it contain goes to `targets`."""
    store, digest, name = asked.store, asked.digest, repository.name
    holders = []
    path = repository.path
    manifests = await _linking(
        asked, [layout.revision_link(path, one) for one in repository.revisions], targets
    )
    is_whole = (
        name is not None and await _age(store, layout.whole_manifest(name, digest), asked.now) is not None
    )
    if manifests or is_whole:
        tags = [] if name is None else await _tags(asked, name)
        stays = "stays: a manifest goes only when somebody deletes it, or a retention rule does"
        holders.append(Holder(repository.path, "manifest", [], tags, stays))
    blobs = await _linking(asked, [layout.layer_link(path, one) for one in repository.layers], targets)
    if blobs:
        needing, verdict = await _judged(asked, repository, blobs)
        holders.append(Holder(repository.path, "blob", needing, [], verdict))
    strays = [key for key in repository.strays if parsing.is_link(key)]
    contents = await store.effects.together(_content(store, key) for key in strays)
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
    ages = [age for key in links if (age := await _age(asked.store, key, asked.now)) is not None]
    return needing, f"needed by no manifest: {_goes(min(ages, default=0.0), asked.grace)}"


async def _linking(asked: _Asked, keys: list[str], targets: set[Digest]) -> list[str]:
    """The links that contain the digest, or are called after it; what these contain goes to `targets`."""
    linking = []
    for some in handfuls(keys):
        await asked.step()
        contents = await asked.store.effects.together(_content(asked.store, key) for key in some)
        for key, content in zip(some, contents, strict=True):
            if asked.digest not in (content, parsing.content_of(key)):
                continue
            linking.append(key)
            if content is not None:
                targets.add(content)
    return linking


async def _content(store: Store, key: str) -> Digest | None:
    try:
        return await store.links.read(key)
    except (NotFound, RegistryError):
        return None


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


async def _age(store: Store, key: str, now: float) -> float | None:
    try:
        return now - (await store.driver.stat(key)).modified_at.timestamp()
    except NotFound:
        return None


async def _trash(store: Store, digest: Digest) -> list[InTrash]:
    runs = Runs(store.driver, store.effects)
    copies = []
    for name in await store.driver.children(layout.trash_data(digest)):
        run = await runs.read(name)
        copies.append(InTrash(name, run.at, run.by) if run else InTrash(name, "", ""))
    return copies


def _goes(age: float, grace: timedelta) -> str:
    if age > grace.total_seconds():
        return "the next collection takes it"
    left = timedelta(seconds=int(grace.total_seconds() - age) + 1)
    return f"it goes when it is older than the grace period, in {format_duration(left.total_seconds())}"


def _verdict(
    age: float | None, holders: list[Holder], trash: list[InTrash], *, under_way: bool, grace: timedelta
) -> str:
    if age is None:
        if trash:
            return "collected; it comes back from the trash when something needs it"
        return "missing, though it is linked" if holders else "not here"
    if under_way:
        return "stays: a push that is under way needs it"
    if holders:
        return "stays while a repository links to it"
    return f"no repository links to it: {_goes(age, grace)}"
