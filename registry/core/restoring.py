"""Restoring: what was deleted, overwritten or collected comes back whole, or nothing does.

A writer as a push is one (ARCHITECTURE.md, "Removing things"): an intent names all that is needed before
that is looked for; bytes come before links, what is listed before what lists it, and tags last.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from registry.core.planting import Planting
from registry.core.pushes import Pushes
from registry.core.quotas import Quotas
from registry.core.tagging import Tagging
from registry.core.trees import Node, Tree
from registry.errors import ManifestUnknown, RegistryError, StorageDamaged, Unsupported
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.model.tag_rights import TagRight, TagRights
from registry.removal.intents import Intents
from registry.removal.runs import Run
from registry.removal.trash import Trash
from registry.removal.trashed import Trashed
from registry.store import parsing
from registry.store.store import Store
from storage.errors import NotFound

_TOLD = 20  # of what is gone, in words
_DETAILED = 100  # of what is gone, in the detail of the error


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be there again: tags with what they are to name, manifests with all below, and blobs."""

    tags: Mapping[Tag, Digest] = field(default_factory=dict)
    manifests: Collection[Digest] = ()
    blobs: Collection[Digest] = ()

    @property
    def roots(self) -> list[Digest]:
        """The manifests that were asked for."""
        return list(dict.fromkeys((*self.manifests, *self.tags.values())))

    def told(self, name: RepositoryName) -> str:
        """What it is called: one tag that is wanted alone, or the repository."""
        alone = len(self.tags) == 1 and not self.manifests and not self.blobs
        return f"{name}:{next(iter(self.tags))}" if alone else name


@dataclass(frozen=True, slots=True)
class Restored:
    """What is there again; `missing` is what could not be had and was left out.

    `replaced` is what the tags named that were set, None where there was none.
    """

    tags: Mapping[Tag, Digest]
    manifests: int
    blobs: int
    missing: Sequence[str]
    replaced: Mapping[Tag, Digest | None] = field(default_factory=dict)


@dataclass(slots=True)
class _Found:
    """What there is of what is wanted: blobs with where their bytes lie, and how many; what is gone, why."""

    tree: Tree
    blobs: dict[Digest, Digest] = field(default_factory=dict)
    sizes: dict[Digest, set[int]] = field(default_factory=dict)
    broken: set[Digest] = field(default_factory=set)
    missing: dict[Digest, str] = field(default_factory=dict)

    def below(self, roots: Iterable[Digest]) -> list[Digest]:
        """The manifests to push for some, each behind those that it lists; without what is broken."""
        pending, below = list(roots), set[Digest]()
        while pending:
            digest = pending.pop()
            if digest in self.tree.nodes and digest not in self.broken and digest not in below:
                below.add(digest)
                pending += self.tree.nodes[digest].others
        return [digest for digest in self.tree.nodes if digest in below]


class Restoring:
    """Restores in all repositories of one store."""

    def __init__(
        self,
        store: Store,
        intents: Intents,
        trash: Trash,
        quotas: Quotas,
        tagging: Tagging,
        pushes: Pushes,
        *,
        allow_missing: bool,
    ) -> None:
        self._store = store
        self._intents = intents
        self._trash = trash
        self._quotas = quotas
        self._tagging = tagging
        self._pushes = pushes
        self._allow_missing = allow_missing
        self.trashed = Trashed(store, trash)

    async def wanted(self, run: Run) -> Wanted:
        """What a run has taken of its repository, as it was before.

        Tags that it has not taken after all are left out, and those of which nobody can read what they named.
        """
        tags: dict[Tag, Digest] = {}
        manifests: dict[Digest, None] = {}
        blobs: dict[Digest, None] = {}
        for move in run.moves:
            if (tag := parsing.tag_of(move.key)) is not None:
                try:
                    tags[tag] = await self._store.links.read(move.trash)
                except (NotFound, StorageDamaged):
                    continue
            elif (digest := parsing.manifest_of(move.key)) is not None:
                manifests[digest] = None
            elif (digest := parsing.layer_of(move.key)) is not None:
                blobs[digest] = None
        return Wanted(tags, list(manifests), list(blobs))

    async def newest_deletion(self, name: RepositoryName) -> Run | None:
        """The last time that the repository was deleted as a whole."""
        newest: Run | None = None
        for one in await self.trashed.runs_of(name):
            # One at a time: the record of a large repository is large.
            run = await self.trashed.runs.read(one)
            if run is None or run.repository != name or not run.whole:
                continue
            if newest is None or (run.at, run.name) > (newest.at, newest.name):
                newest = run
        return newest

    async def restore(
        self,
        name: RepositoryName,
        wanted: Wanted,
        by: str,
        rights: TagRights,
        *,
        overwrite: bool,
        some: bool,
    ) -> Restored:
        """Let the repository have what is wanted.

        With `some`, what is gone for good is left out. Without `overwrite` no tag is moved.
        Raises the refusals of tags, ManifestUnknown when something is gone, Unsupported when it is too much,
        QuotaExceeded; then nothing has changed, unless the error says so.
        """
        kept = rights if overwrite else _Keeping(name, rights)
        needed = {digest for digest in (*wanted.roots, *wanted.blobs) if digest.supported}
        if not needed:
            return Restored({}, 0, 0, [])
        planting = Planting(self._store, self._intents, self._pushes, name, by, kept)
        async with planting.under_way():
            while True:
                await planting.announce(needed)
                await self._allow(name, wanted.tags, kept)
                found = await self._find(name, wanted)
                if not found.tree.digests <= needed:
                    needed |= found.tree.digests
                    continue
                chosen = self._choose(name, wanted, found, some=some)
                restored = await self._restore(name, chosen, found, planting)
                if restored is not None:
                    return restored

    async def put_back_data(self, run: Run) -> tuple[int, list[str]]:
        """Let the bytes that a run took lie in their places; how many, and of which there are none left."""
        digests = [one for move in run.moves if (one := parsing.digest_of(move.key)) is not None]
        missing = [str(digest) for digest in digests if not await self._has_put_back(digest)]
        return len(digests) - len(missing), missing

    async def _has_put_back(self, digest: Digest) -> bool:
        try:
            await self._store.content.stat(digest)
        except NotFound:
            return await self._trash.put_back_data(digest)
        return True

    async def _allow(self, name: RepositoryName, tags: Mapping[Tag, Digest], rights: TagRights) -> None:
        refused: list[RegistryError] = []
        for tag, digest in tags.items():
            try:
                await self._tagging.allow(name, digest, [tag], rights)
            except RegistryError as error:
                refused.append(error)
        if len(refused) == 1:
            raise refused[0]
        if refused:
            told = "; ".join(one.message for one in refused[:_TOLD])
            raise type(refused[0])(f"cannot be restored: {told}", detail=refused[0].detail, also=refused[1:])

    async def _look(self, name: RepositoryName, digest: Digest, found: _Found) -> None:
        """Note under which digest the bytes of a blob can be had, if they can."""
        target = await self.trashed.target(name, digest)
        if target is not None and (sizes := await self.trashed.sizes(target)):
            found.blobs[digest], found.sizes[digest] = target, sizes

    async def _find(self, name: RepositoryName, wanted: Wanted) -> _Found:
        found = _Found(Tree())
        effects = self._store.effects
        tree = found.tree
        most = self._pushes.max_references
        await tree.grow(wanted.roots, partial(self.trashed.manifest, name), effects, max_references=most)
        blobs = [digest for digest in tree.blobs.union(wanted.blobs) if digest.supported]
        await effects.together(self._look(name, digest, found) for digest in blobs)
        for digest in wanted.blobs:
            if digest not in found.blobs:
                found.missing[digest] = ""
        for digest in wanted.roots:
            if digest not in tree.nodes:
                # A blob of that digest is no manifest, and no tag can name it.
                found.missing[digest] = self._why(tree, digest) or ("a blob" if digest in found.blobs else "")
        for digest, node in tree.nodes.items():
            await self._judge(name, digest, node, found)
        return found

    async def _judge(self, name: RepositoryName, digest: Digest, node: Node, found: _Found) -> None:
        """Note what a manifest lacks; those that it lists were judged before."""
        for blob, size in node.blobs.items():
            why = await self._lacking(blob, size, found)
            if why is not None:
                found.broken.add(digest)
                found.missing[blob] = why
        for child in node.others:
            if child in found.tree.nodes or child in found.blobs:
                continue
            if child in found.tree.unread and await self._store.manifests.exists(name, child):
                continue  # of a kind that we do not read, and it has never left
            found.missing[child] = self._why(found.tree, child)

    def _why(self, tree: Tree, digest: Digest) -> str:
        if digest in self._store.blocked.digests:
            return "it was purged"
        return tree.unread[digest].message if digest in tree.unread else ""

    async def _lacking(self, blob: Digest, size: int, found: _Found) -> str | None:
        """Why a push would refuse what needs this blob with so many bytes; None if it would not."""
        if blob not in found.blobs:
            return None if self._allow_missing else self._why(found.tree, blob)
        sizes = found.sizes[blob]
        if size in sizes or size in await self.trashed.sizes_taken(found.blobs[blob]):
            return None
        return f"{size} bytes by its manifest, and {min(sizes)} are there"

    def _choose(self, name: RepositoryName, wanted: Wanted, found: _Found, *, some: bool) -> Wanted:
        """What of it can be had. Raises ManifestUnknown."""
        whole = frozenset(found.tree.nodes) - found.broken
        tags = {tag: digest for tag, digest in wanted.tags.items() if digest in whole}
        chosen = Wanted(
            tags,
            [digest for digest in wanted.manifests if digest in whole],
            [digest for digest in wanted.blobs if digest in found.blobs],
        )
        nothing = not chosen.roots and not chosen.blobs
        if found.missing and (nothing or not some):
            told = _told(found.missing)
            words = "; ".join(told[:_TOLD]) + ("" if len(told) <= _TOLD else f" and {len(told) - _TOLD} more")
            hint = "" if nothing else "; --partial leaves it out"
            raise ManifestUnknown(
                f"{wanted.told(name)} cannot be restored:"
                f" this is neither there nor in the trash: {words}{hint}",
                detail={"name": name, "missing": told[:_DETAILED], "count": len(told)},
            )
        return chosen

    async def _restore(
        self, name: RepositoryName, chosen: Wanted, found: _Found, planting: Planting
    ) -> Restored | None:
        """Put it where it was; None when all is to be looked at again."""
        manifests = found.below(chosen.roots)
        await self._quotas.require_all(name, found.tree.sizes(manifests))
        named = (found.tree.nodes[digest] for digest in manifests)
        wanted = set(chosen.blobs).union(*(node.blobs.keys() | node.optional | node.others for node in named))
        blobs = {digest: target for digest, target in found.blobs.items() if digest in wanted}
        copies = await self.trashed.copies_of_users(name, manifests, blobs)
        planting.wrote = planting.wrote or bool(blobs)
        for digest, target in blobs.items():
            if not await self.trashed.put_back_blob(name, digest, target):
                raise ManifestUnknown(f"{digest} was destroyed meanwhile", detail={"digest": str(digest)})
        if not await planting.plant(manifests, chosen.tags, partial(self.trashed.manifest, name)):
            return None
        await self.trashed.forget(copies)
        told = _told(found.missing)
        return Restored(dict(chosen.tags), len(manifests), len(blobs), told, planting.replaced)


class _Keeping:
    """The rights of somebody who does not want to take tags from what they name."""

    def __init__(self, name: RepositoryName, rights: TagRights) -> None:
        self._name = name
        self._rights = rights

    def refusal(self, right: TagRight, tag: Tag) -> RegistryError | None:
        """That of the rules; and whatever they say, no tag is moved."""
        if right == "overwrite":
            return Unsupported(
                f"{self._name}:{tag} names something else by now; --overwrite lets it name what it did",
                detail={"name": self._name, "tag": tag},
            )
        return self._rights.refusal(right, tag)


def _told(missing: Mapping[Digest, str]) -> list[str]:
    return [f"{digest} ({why})" if why else str(digest) for digest, why in missing.items()]
