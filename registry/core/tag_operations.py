"""What core offers for tags beyond looking and deleting: their history, restoring one, copying one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from registry.core.operations import Limit, naming, tag_of
from registry.core.registry import Registry
from registry.core.restoring import Wanted
from registry.errors import (
    Denied,
    DigestInvalid,
    ManifestUnknown,
    NameInvalid,
    RegistryError,
)
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.model.quoting import quoted
from registry.model.tag_rights import TagRight
from registry.store import layout
from registry.work.operations import (
    Context,
    Operation,
    Progress,
    Result,
    TagSet,
    Touched,
    argument,
    option,
)

Outcome = AsyncIterator[Progress | Result]

_MOST = 1000  # entries of a history that are told at once


@dataclass(frozen=True, slots=True)
class AskHistory:
    """Whose history, and how much of it."""

    reference: str = argument("repository and tag, for example team/app:1.0")
    limit: Limit = option("at most so many, and never over 1000", default=Limit(100))
    last: str = option("begin behind this entry, with older ones", default="")


@dataclass(frozen=True, slots=True)
class ShownMove:
    """One entry: the tag was to go from `replaced` (None: it was not there) to `digest` (None: deleted)."""

    entry: str
    at: datetime
    by: str | None
    replaced: str | None
    digest: str | None


@dataclass(frozen=True, slots=True)
class TagHistory:
    """What a tag has named, the newest first; `next` is where older entries begin."""

    repository: str
    tag: str
    entries: list[ShownMove]
    next: str | None

    def told(self) -> str:
        """An entry, two lines: who and when, and from what to what."""
        lines = []
        for one in self.entries:
            who = "" if one.by is None else f" by {one.by}"
            lines.append(f"{one.at.isoformat(sep=' ', timespec='seconds')}{who}")
            lines.append(f"  {one.replaced or 'nothing'} -> {one.digest or 'deleted'}")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class RestoreTag:
    """Which tag, and what it is to name again."""

    reference: str = argument("repository, tag and digest, for example team/app:1.0@sha256:…")
    partial: bool = option("leave out manifests of an index that are gone", default=False)


@dataclass(frozen=True, slots=True)
class RestoredTag:
    """A tag that names a manifest again, with so many below it; `missing` is gone for good."""

    repository: str
    tag: str
    digest: str
    manifests: int
    blobs: int
    missing: list[str]

    def told(self) -> str:
        """What the tag names, and what that lacks."""
        named = f"{self.repository}:{self.tag} names {self.digest} again"
        return "\n".join([named, *gone(self.missing)])


@dataclass(frozen=True, slots=True)
class CopyTag:
    """What to copy, and under which name."""

    source: str = argument("what to copy: team/dev:1.0, or team/dev@sha256:…")
    target: str = argument("repository and tag that are to name it, too: team/prod:1.0")
    no_referrers: bool = option("leave out what refers to it: signatures, SBOMs", default=False)


@dataclass(frozen=True, slots=True)
class CopiedTag:
    """A tag that names what another does, with so many below it; `left` says what is not the same."""

    repository: str
    tag: str
    digest: str
    manifests: int
    blobs: int
    referrers: int
    left: list[str]

    def told(self) -> str:
        """What the tag names, and what is not the same."""
        counts = f"manifests: {self.manifests}, blobs: {self.blobs}, referring to it: {self.referrers}"
        named = f"{self.repository}:{self.tag} names {self.digest} ({counts})"
        return "\n".join([named, *(f"  {one}" for one in self.left)])


def operations(registry: Callable[[], Registry]) -> Iterable[Operation[Any]]:
    """Operations on the registry that is open when one of them runs."""

    async def tag_history(asked: AskHistory, context: Context) -> Outcome:
        name, tag = tag_of(asked.reference)
        store = registry().store
        limit = min(asked.limit, _MOST)
        page = await store.history.newest(name, tag, limit=limit + 1, before=asked.last)
        is_known = bool(page or await store.history.newest(name, tag, limit=1))
        if not is_known:
            with naming(name, tag):
                await store.links.tag(name, tag)
        # Who may only pull is not told who works here.
        is_told = context.may("create", name, tag) or context.may("overwrite", name, tag)
        entries = []
        for one in page[:limit]:
            move = await store.history.read(f"{layout.history(name, tag)}/{one}")
            if move is not None:
                by = move.by if is_told else None
                entries.append(ShownMove(one, move.at, by, _text(move.replaced), _text(move.digest)))
        more = page[limit - 1] if len(page) > limit else None
        notes = [] if is_known else ["nothing is known of what it named before: another program has set it"]
        notes += [] if more is None else [f"there are more: --last {more}"]
        yield Result(TagHistory(name, tag, entries, more), text="\n".join(notes))

    async def tag_restore(asked: RestoreTag, context: Context) -> Outcome:
        name, tag, digest = _tag_and_digest(asked.reference)
        wanted = Wanted({tag: digest})
        repository = registry().repository(name, context.by, Allowed(context, name))
        restored = await repository.restore(wanted, overwrite=True, some=asked.partial)
        value = RestoredTag(
            name, tag, str(digest), restored.manifests, restored.blobs, list(restored.missing)
        )
        yield Result(value, set_tags=tags_set(name, wanted.tags, restored.replaced))

    async def tag_copy(asked: CopyTag, context: Context) -> Outcome:
        there, reference = _source(asked.source)
        name, tag = tag_of(asked.target)
        if (why := context.refusal("pull", there, None)) is not None:
            raise Denied(why, detail={"name": there})
        source = registry().repository(there, context.by)
        repository = registry().repository(name, context.by, Allowed(context, name))
        put_back = context.may("create", there, None)
        with _saying(asked.source):
            copied = await repository.copy(
                tag, source, reference, put_back=put_back, referrers=not asked.no_referrers
            )
        counts = (copied.manifests, copied.blobs, copied.referrers)
        yield Result(
            CopiedTag(name, tag, str(copied.digest), *counts, list(copied.left)),
            set_tags=tags_set(name, {tag: copied.digest, **copied.tags}, copied.replaced),
        )

    return (
        Operation(
            "tag.history",
            "Show what a tag has named, and who let it, the newest first",
            "pull",
            False,
            AskHistory,
            tag_history,
            touches=lambda asked: (tag_of(asked.reference)[0], None),
            result=TagHistory,
        ),
        Operation(
            "tag.restore",
            "Let a tag name again what it named before; what was taken of it comes back from the trash",
            "create",
            False,
            RestoreTag,
            tag_restore,
            touches=lambda asked: (_tag_and_digest(asked.reference)[0], None),
            changes=True,
            result=RestoredTag,
            event="tag.restored",
        ),
        Operation(
            "tag.copy",
            "Let a tag name what another does, with signatures and the like; no byte is moved",
            "create",
            False,
            CopyTag,
            tag_copy,
            touches=_copied_to,
            changes=True,
            result=CopiedTag,
            event="tag.copied",
        ),
    )


@dataclass(frozen=True, slots=True)
class Allowed:
    """What who asks may do to the tags of a repository."""

    context: Context
    name: RepositoryName

    def refusal(self, right: TagRight, tag: Tag) -> RegistryError | None:
        """Denied, unless it may be done to the tag."""
        why = self.context.refusal(right, self.name, tag)
        return None if why is None else Denied(why, detail={"action": right, "name": self.name, "tag": tag})


def _copied_to(asked: CopyTag) -> Touched:
    _source(asked.source)
    return tag_of(asked.target)[0], None


def _tag_and_digest(text: str) -> tuple[RepositoryName, Tag, Digest]:
    reference, at, digest = text.partition("@")
    if not at:
        raise DigestInvalid(
            f"{quoted(text)} has no digest: give REPOSITORY:TAG@DIGEST; `moorage tag history` has the digests"
        )
    return *tag_of(reference), Digest.parse(digest).require_supported()


def _source(text: str) -> tuple[RepositoryName, Tag | Digest]:
    name, at, digest = text.partition("@")
    if not at:
        return tag_of(text)
    if ":" in name:
        raise NameInvalid(
            f"{quoted(text)} is not understood; give REPOSITORY:TAG or REPOSITORY@DIGEST, without the"
            " registry's address"
        )
    return RepositoryName(name), Digest.parse(digest).require_supported()


@contextmanager
def _saying(source: str) -> Iterator[None]:
    """Have an error say what is not there to be copied."""
    try:
        yield
    except ManifestUnknown as error:
        raise ManifestUnknown(f"there is no {source}", detail=error.detail) from error


def tags_set(
    name: RepositoryName, tags: Mapping[Tag, Digest], replaced: Mapping[Tag, Digest | None]
) -> tuple[TagSet, ...]:
    """What the trail tells of tags that were set."""
    return tuple(
        TagSet(name, tag, str(digest), str(replaced.get(tag, digest) or "")) for tag, digest in tags.items()
    )


def gone(missing: Iterable[str]) -> list[str]:
    """A line for each of what could not be restored."""
    return [f"  gone for good: {one}" for one in missing]


def _text(digest: Digest | None) -> str | None:
    return None if digest is None else str(digest)
