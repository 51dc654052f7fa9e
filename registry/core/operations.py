"""What core offers to operators: repositories and tags, looked at and taken away."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from registry.core.registry import Registry
from registry.errors import (
    Denied,
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
    RegistryError,
    StorageDamaged,
    TagInvalid,
    Unavailable,
    Unsupported,
)
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.model.quoting import quoted
from registry.model.tag_rights import TagRight
from registry.work.operations import Context, Operation, Progress, Result, Touched, argument, option
from storage.errors import StorageError

Outcome = AsyncIterator[Progress | Result]

_TAGS_TOLD = 20
_NO_REPOSITORY = "there is no repository {}"
_FORM = "give REPOSITORY:TAG, for example demo/alpine:3.20"


class Limit(int):
    """How many of something, 1 or more."""

    @classmethod
    def parse(cls, text: str) -> Limit:
        """Read a whole number; ValueError when it is none, or too small."""
        if not text.isdecimal() or int(text) < 1:
            raise ValueError("must be a whole number, 1 or more")
        return cls(text)


@dataclass(frozen=True, slots=True)
class ListRepositories:
    """Which repositories to list."""

    last: str = option("begin behind this name", default="")
    limit: Limit = option("at most so many", default=Limit(1000))


@dataclass(frozen=True, slots=True)
class Repositories:
    """Repositories in byte order; `next` is where the next page begins."""

    repositories: list[str]
    next: str | None

    def told(self) -> str:
        """A name a line."""
        return "\n".join(self.repositories)


@dataclass(frozen=True, slots=True)
class OneRepository:
    """Which repository."""

    repository: RepositoryName = argument("the repository, for example team/app")


@dataclass(frozen=True, slots=True)
class ShownTag:
    """A tag, and the manifest that it names."""

    tag: str
    digest: str
    media_type: str


@dataclass(frozen=True, slots=True)
class ShownRepository:
    """What a repository holds; `referenced_bytes` counts each blob of it once."""

    repository: str
    tags: list[ShownTag]
    manifests: int
    blobs: int
    referenced_bytes: int


@dataclass(frozen=True, slots=True)
class Tags:
    """The tags of a repository, in byte order."""

    repository: str
    tags: list[str]

    def told(self) -> str:
        """A tag a line."""
        return "\n".join(self.tags)


@dataclass(frozen=True, slots=True)
class OneTag:
    """Which tag of which repository."""

    reference: str = argument("repository and tag, for example team/app:1.0")


@dataclass(frozen=True, slots=True)
class Removed:
    """What was taken away, or would be; all of it lies in the trash."""

    repository: str
    tags: list[str]
    manifests: int
    blobs: int
    dry_run: bool

    def told(self) -> str:
        """What is gone, or would be."""
        did = "would delete" if self.dry_run else "deleted"
        counts = f"tags: {len(self.tags)}, manifests: {self.manifests}, links to blobs: {self.blobs}"
        lines = [f"{did} {self.repository} ({counts})"]
        lines += [f"  {self.repository}:{tag}" for tag in self.tags[:_TAGS_TOLD]]
        if len(self.tags) > _TAGS_TOLD:
            lines.append(f"  and {len(self.tags) - _TAGS_TOLD} more tags")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class RemovedTag(Removed):
    """A tag that was taken away, or would be."""

    def told(self) -> str:
        """What is gone, or would be, and what is not."""
        did = "would delete" if self.dry_run else "deleted"
        return f"{did} {self.repository}:{self.tags[0]}; its manifest stays"


def operations(registry: Callable[[], Registry], *, deletes: bool = True) -> Iterable[Operation[Any]]:
    """Core's operations on the registry that is open when one of them runs.

    `deletes` says whether whoever asks may take content away at all; an operator may.
    """

    async def repo_list(asked: ListRepositories, context: Context) -> Outcome:
        def visible(name: RepositoryName) -> bool:
            return context.may("list", name, None) and context.may("pull", name, None)

        page = await registry().catalog(n=asked.limit, last=asked.last, visible=visible)
        complete = await registry().listings.catalog_is_complete()
        notes = [] if complete else ["the catalog is incomplete: run `moorage storage reindex`"]
        if page.next is not None:
            notes.append(f"there are more: --last {page.next}")
        yield Result(Repositories(page.entries, page.next), text="\n".join(notes))

    async def repo_show(asked: OneRepository, context: Context) -> Outcome:
        repository = registry().repository(asked.repository, context.by)
        store = registry().store
        with naming(asked.repository):
            names = (await repository.tags(n=None, last="")).entries
        tags = []
        for name in names:
            try:
                stored = await repository.manifest(Tag(name))
            except RegistryError as error:
                tags.append(ShownTag(name, "", f"damaged: {error.message}"))
                continue
            tags.append(ShownTag(name, str(stored.digest), stored.media_type))
            yield Progress(len(tags), len(names), "items", "tags")
        manifests = len(await _manifests(registry(), asked.repository))
        blobs = [digest async for digest in store.links.layers(asked.repository)]
        size = 0
        for digest in blobs:
            # What is missing has no size; `moorage storage check` tells of it.
            with suppress(RegistryError):
                size += (await repository.blob(digest, may_push=False)).size_bytes
        yield Result(ShownRepository(asked.repository, tags, manifests, len(blobs), size))

    async def repo_delete(asked: OneRepository, context: Context) -> Outcome:
        _require(deletes)
        name, store = asked.repository, registry().store
        if not await store.catalog.is_listed(name) and not await store.catalog.holds_content(name):
            raise NameUnknown(_NO_REPOSITORY.format(name), detail={"name": name})
        tags = await store.links.tags(name)
        kept = {tag: why for tag in tags if (why := context.refusal("delete", name, tag)) is not None}
        if kept:
            told = list(kept)[:_TAGS_TOLD]
            raise Denied(_kept(name, kept), detail={"action": "delete", "name": name, "tags": told})
        counts = await _counts(registry(), name)
        if not context.dry_run:
            registry().require_writable()
            try:
                await registry().door.remove_repository(name, context.by, _Deletions(context, name))
            except (RegistryError, StorageError) as error:
                if (how_far := await _half_deleted(registry(), name, counts)) is None:
                    raise
                raise Unavailable(f"{error}; {how_far}") from error
        _, manifests, blobs = counts
        yield Result(Removed(name, [str(tag) for tag in tags], manifests, blobs, context.dry_run))

    async def tag_list(asked: OneRepository, context: Context) -> Outcome:
        with naming(asked.repository):
            page = await registry().repository(asked.repository, context.by).tags(n=None, last="")
        yield Result(Tags(asked.repository, page.entries))

    async def tag_delete(asked: OneTag, context: Context) -> Outcome:
        _require(deletes)
        name, tag = tag_of(asked.reference)
        with naming(name, tag):
            with suppress(StorageDamaged):
                await registry().store.links.tag(name, tag)
            if not context.dry_run:
                registry().require_writable()
                await registry().door.remove_tag(name, tag, context.by)
        yield Result(RemovedTag(name, [tag], 0, 0, context.dry_run))

    return (
        Operation(
            "repo.list",
            "List the repositories",
            "list",
            False,
            ListRepositories,
            repo_list,
            result=Repositories,
        ),
        Operation(
            "repo.show",
            "Show what a repository holds",
            "pull",
            False,
            OneRepository,
            repo_show,
            touches=_touched,
            result=ShownRepository,
        ),
        Operation(
            "repo.delete",
            "Delete a repository: its tags, manifests and blob links go to the trash",
            "delete",
            True,
            OneRepository,
            repo_delete,
            touches=_touched,
            result=Removed,
            event="repository.deleted",
        ),
        Operation(
            "tag.list",
            "List the tags of a repository",
            "pull",
            False,
            OneRepository,
            tag_list,
            touches=_touched,
            result=Tags,
        ),
        Operation(
            "tag.delete",
            "Delete a tag; its manifest stays",
            "delete",
            True,
            OneTag,
            tag_delete,
            touches=lambda asked: tag_of(asked.reference),
            result=RemovedTag,
            event="tag.deleted",
        ),
    )


def _touched(asked: OneRepository) -> Touched:
    return asked.repository, None


@dataclass(frozen=True, slots=True)
class _Deletions:
    """Which tags of a repository who asks may delete."""

    context: Context
    name: RepositoryName

    def refusal(self, right: TagRight, tag: Tag) -> RegistryError | None:
        """Denied, unless it may be done to the tag."""
        why = self.context.refusal(right, self.name, tag)
        if why is None:
            return None
        return Denied(_kept(self.name, {tag: why}), detail={"action": right, "name": self.name, "tag": tag})


def _require(deletes: bool) -> None:
    if not deletes:
        raise Unsupported("deleting is switched off in this registry's configuration (delete.enabled)")


def _kept(name: RepositoryName, tags: Mapping[Tag, str]) -> str:
    told = ", ".join(list(tags)[:_TAGS_TOLD])
    more = "" if len(tags) <= _TAGS_TOLD else f" and {len(tags) - _TAGS_TOLD} more"
    why = next(iter(tags.values()))
    return f"you may not delete these tags of {name}, so nothing was removed: {told}{more} ({why})"


async def _counts(registry: Registry, name: RepositoryName) -> tuple[int, int, int]:
    """How many tags, manifests and links to blobs a repository has."""
    blobs = [digest async for digest in registry.store.links.layers(name)]
    return len(await registry.store.links.tags(name)), len(await _manifests(registry, name)), len(blobs)


async def _half_deleted(registry: Registry, name: RepositoryName, before: tuple[int, int, int]) -> str | None:
    """How far a deletion has come that broke off, and what to do; None where nothing is gone."""
    try:
        left = await _counts(registry, name)
    except StorageError:
        how_far = f"of {name} some may be gone, and how much cannot be told now"
    else:
        if left == before:
            return None
        kinds = ("tags", "manifests", "links to blobs")
        told = (f"{more} of {of} {kind}" for more, of, kind in zip(left, before, kinds, strict=True))
        how_far = f"of {name} there still are {', '.join(told)}"
    return f"{how_far}: delete it once more to have the rest go, too; what is gone lies in the trash"


async def _manifests(registry: Registry, name: RepositoryName) -> list[Digest]:
    found = [digest async for digest in registry.store.links.revisions(name)]
    return found + [digest async for digest in registry.store.links.whole_manifests(name)]


@contextmanager
def naming(name: RepositoryName, tag: Tag | None = None) -> Iterator[None]:
    """Have errors say what is not there."""
    try:
        yield
    except NameUnknown as error:
        raise NameUnknown(_NO_REPOSITORY.format(name), detail=error.detail) from error
    except ManifestUnknown as error:
        raise ManifestUnknown(f"there is no tag {name}:{tag}", detail=error.detail) from error


def tag_of(text: str) -> tuple[RepositoryName, Tag]:
    """The repository and tag that a text means. Raises NameInvalid, TagInvalid."""
    if "@" in text:
        raise TagInvalid(f"{quoted(text)} names a manifest by its digest, which is not a tag; {_FORM}")
    first, slash, rest = text.partition("/")
    if slash and ":" in first:
        raise NameInvalid(f"{quoted(text)} begins with a registry's address; leave that out: {quoted(rest)}")
    name, colon, tag = text.rpartition(":")
    if not colon:
        raise TagInvalid(f"{quoted(text)} has no tag; {_FORM}")
    return RepositoryName(name), Tag(tag)
