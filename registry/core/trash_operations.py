"""What core offers for the trash: what lies in it, and bringing back what a removal has taken."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from registry.core.operations import Limit
from registry.core.registry import Registry
from registry.core.tag_operations import Allowed, gone, tags_set
from registry.errors import (
    Denied,
    NameUnknown,
    NotFoundHere,
)
from registry.model.digests import Digest
from registry.model.names import RepositoryName
from registry.removal.contents import Contents
from registry.removal.runs import Run
from registry.removal.trash import time_kept
from registry.store import layout, parsing
from registry.work.operations import Context, Operation, Progress, Result, argument, option
from storage.errors import NotFound

Outcome = AsyncIterator[Progress | Result]

_RUN = re.compile(r"[uc]-[A-Za-z0-9-]{1,64}")
_TOLD = 20
_MOST = 1000  # of what a run holds, told at once


class RunName(str):
    """The name of a run, as it stands in the trash."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> RunName:
        """Read a name; ValueError when it cannot be one."""
        if _RUN.fullmatch(text) is None:
            raise ValueError("must be the name of a run, u-… or c-…, as `moorage trash list` shows it")
        return cls(text)


@dataclass(frozen=True, slots=True)
class RestoreRepository:
    """Which repository, and from which deletion."""

    repository: RepositoryName = argument("the repository, for example team/app")
    run: RunName | None = option("what this run has taken, not the newest deletion", default=None)
    overwrite: bool = option("also tags that name something else now", default=False)
    partial: bool = option("leave out what is gone for good", default=False)


@dataclass(frozen=True, slots=True)
class RestoreRun:
    """What to bring back."""

    run: RunName = argument("the run, as `moorage trash list` shows it")
    overwrite: bool = option("also tags that name something else now", default=False)
    partial: bool = option("leave out what is gone for good", default=False)


@dataclass(frozen=True, slots=True)
class RestoredRun:
    """What a run had taken and is there again, as far as it is not `missing`, which is gone for good."""

    run: str
    repository: str | None
    tags: list[str]
    manifests: int
    blobs: int
    data: int
    missing: list[str]

    def told(self) -> str:
        """What is there again, and what is not."""
        if self.repository is None:
            return "\n".join([f"restored data of {self.data} blobs and manifests", *gone(self.missing)])
        counts = f"tags: {len(self.tags)}, manifests: {self.manifests}, blobs: {self.blobs}"
        lines = [f"restored {self.repository} ({counts})"]
        lines += [f"  {self.repository}:{tag}" for tag in self.tags[:_TOLD]]
        if len(self.tags) > _TOLD:
            lines.append(f"  and {len(self.tags) - _TOLD} more tags")
        return "\n".join([*lines, *gone(self.missing)])


@dataclass(frozen=True, slots=True)
class ListTrash:
    """What of the trash to list."""

    repository: RepositoryName | None = argument("only what was taken from this repository", default=None)
    limit: Limit = option("at most so many", default=Limit(100))
    last: RunName | None = option("begin behind this run, with older ones", default=None)


@dataclass(frozen=True, slots=True)
class TrashedRun:
    """One removal: what it has taken, from where (None: data, from the store as a whole), and by whom.

    `size_bytes` is that of data. It is kept until `until`, if the trash does not grow too large before. A
    policy says `why`.
    """

    run: str
    at: datetime
    by: str
    repository: str | None
    tags: int
    manifests: int
    blobs: int
    data: int
    size_bytes: int
    until: datetime
    why: str | None = None


@dataclass(frozen=True, slots=True)
class TrashedRuns:
    """Removals, the newest first; `next` is where older ones begin."""

    runs: list[TrashedRun]
    next: str | None


@dataclass(frozen=True, slots=True)
class ShowRun:
    """Which removal, and how much of what it holds."""

    run: RunName = argument("the run, as `moorage trash list` shows it")
    limit: Limit = option("at most so many, and never over 1000", default=Limit(100))
    last: Limit | None = option("begin behind so many", default=None)


@dataclass(frozen=True, slots=True)
class TrashedItem:
    """A `tag` with the digest that it named, a `manifest` or a `blob` of the repository, or `data`.

    `size_bytes` are those of the content, None where it is gone for good.
    """

    kind: str
    tag: str | None
    digest: str | None
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class ShownRun:
    """One removal, and what it holds: from where (None: data, from the store as a whole), by whom and why.

    `next` is where the rest begins. It can be restored until `until`, if the trash does not grow too large.
    """

    run: str
    at: str
    by: str
    why: str | None
    repository: str | None
    until: datetime
    next: int | None
    items: list[TrashedItem]


def operations(registry: Callable[[], Registry], keep_for: timedelta) -> Iterable[Operation[Any]]:
    """Operations on the registry that is open when one of them runs; it keeps its trash for `keep_for`."""

    async def repo_restore(asked: RestoreRepository, context: Context) -> Outcome:
        name = asked.repository
        if asked.run is None:
            run = await registry().restoring.newest_deletion(name)
            if run is None:
                raise NameUnknown(f"the trash has no deletion of {name}", detail={"name": name})
        else:
            run = await _run(registry(), asked.run)
            if run.repository != name:
                raise _no_run(asked.run)
        yield await _restored(registry(), run, context, overwrite=asked.overwrite, some=asked.partial)

    async def trash_list(asked: ListTrash, _: Context) -> Outcome:
        trashed = registry().restoring.trashed
        if asked.repository is None:
            names = [name async for name in trashed.runs.names()]
        else:
            names = sorted(await trashed.runs_of(asked.repository))
        runs = [one for name in names if (one := await _shown(registry(), name, keep_for)) is not None]
        runs.sort(key=lambda one: (one.at, one.run), reverse=True)
        if asked.last is not None:
            places = [place for place, one in enumerate(runs) if one.run == asked.last]
            if not places:
                raise _no_run(asked.last)
            runs = runs[places[0] + 1 :]
        more = runs[asked.limit - 1].run if len(runs) > asked.limit else None
        text = "" if more is None else f"there are more: --last {more}"
        if asked.repository is not None and not runs and asked.last is None:
            text = f"the trash has nothing of {asked.repository}"
        yield Result(TrashedRuns(runs[: asked.limit], more), text=text)

    async def trash_show(asked: ShowRun, _: Context) -> Outcome:
        run = await _run(registry(), asked.run)
        until = await _until(registry(), asked.run, keep_for)
        if until is None:
            raise _no_run(asked.run)
        contents = Contents(registry().store, registry().restoring.trashed)
        held, more = await contents.page(run, asked.last or 0, min(asked.limit, _MOST))
        items = [TrashedItem(one.kind, one.tag, _text(one.digest), one.size_bytes) for one in held]
        text = "" if more is None else f"there is more: --last {more}"
        if not items and asked.last is None and more is None:
            text = "all that it took is back, or was never there"
        shown = ShownRun(run.name, run.at, run.by, run.why or None, run.repository, until, more, items)
        yield Result(shown, text=text)

    async def trash_restore(asked: RestoreRun, context: Context) -> Outcome:
        run = await _run(registry(), asked.run)
        yield await _restored(registry(), run, context, overwrite=asked.overwrite, some=asked.partial)

    return (
        Operation(
            "repo.restore",
            "Bring a deleted repository back: its tags, manifests and blobs",
            "create",
            False,
            RestoreRepository,
            repo_restore,
            touches=lambda asked: (asked.repository, None),
            changes=True,
            result=RestoredRun,
            event="repository.restored",
        ),
        Operation(
            "trash.list",
            "List what was deleted or collected and can be restored, the newest first",
            "admin",
            False,
            ListTrash,
            trash_list,
            result=TrashedRuns,
        ),
        Operation(
            "trash.show",
            "Show what one removal holds in the trash, who took it and why, and until when",
            "admin",
            False,
            ShowRun,
            trash_show,
            result=ShownRun,
        ),
        Operation(
            "trash.restore",
            "Bring back what one removal has taken",
            "admin",
            False,
            RestoreRun,
            trash_restore,
            changes=True,
            result=RestoredRun,
            event="trash.restored",
        ),
    )


async def _restored(registry: Registry, run: Run, context: Context, *, overwrite: bool, some: bool) -> Result:
    name = run.repository
    if name is None:
        registry.require_writable()
        data, missing = await registry.restoring.put_back_data(run)
        text = "" if not data else "what no manifest names goes again with the next collection"
        return Result(RestoredRun(run.name, None, [], 0, 0, data, missing), text=text)
    if (why := context.refusal("create", name, None)) is not None:
        raise Denied(why, detail={"name": name})
    wanted = await registry.restoring.wanted(run)
    repository = registry.repository(name, context.by, Allowed(context, name))
    restored = await repository.restore(wanted, overwrite=overwrite, some=some)
    counts = (restored.manifests, restored.blobs, 0)
    tags = [str(tag) for tag in restored.tags]
    return Result(
        RestoredRun(run.name, name, tags, *counts, list(restored.missing)),
        set_tags=tags_set(name, restored.tags, restored.replaced),
        repository=name,
    )


async def _run(registry: Registry, name: RunName) -> Run:
    run = await registry.restoring.trashed.runs.read(name)
    if run is None:
        raise _no_run(name)
    return run


async def _shown(registry: Registry, name: str, keep_for: timedelta) -> TrashedRun | None:
    run = await registry.restoring.trashed.runs.read(name)
    if run is None:
        return None
    keys = [move.key for move in run.moves]
    try:
        # By another clock, or by a hand: it cannot be told when it was, and the others can.
        at = datetime.fromisoformat(run.at).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    until = await _until(registry, name, keep_for)
    if until is None:
        return None
    return TrashedRun(
        run.name,
        at,
        run.by,
        run.repository,
        sum(parsing.tag_of(key) is not None for key in keys),
        # A manifest's own delete has it down for both places where it may lie.
        len({digest for key in keys if (digest := parsing.manifest_of(key)) is not None}),
        sum(parsing.layer_of(key) is not None for key in keys),
        len(keys) if run.repository is None else 0,
        sum(move.size_bytes for move in run.moves),
        until,
        run.why or None,
    )


async def _until(registry: Registry, name: str, keep_for: timedelta) -> datetime | None:
    """Until when the trash keeps what a run has taken; None when it is gone."""
    try:
        # The age of what is in the trash is that of its run's record, by the store's own clock.
        recorded = await registry.store.driver.stat(layout.trash_run(name))
    except NotFound:
        return None
    return recorded.modified_at + time_kept(name, keep_for)


def _text(digest: Digest | None) -> str | None:
    return None if digest is None else str(digest)


def _no_run(name: str) -> NotFoundHere:
    return NotFoundHere(f"the trash has no run {name}; `moorage trash list` has those that there are")
