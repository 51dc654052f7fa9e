"""What mirrors offer to operators: what there is, how the upstreams answer, and fetching ahead."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from registry.core.registry import Registry
from registry.errors import InputInvalid, NameUnknown, RegistryError, RequestInvalid
from registry.mirror.evicting import Evicted
from registry.mirror.eviction_operations import ShownPin, last_evicted, pins_below
from registry.mirror.images import Came, Images, Parts, why
from registry.mirror.mirror import Mirror
from registry.mirror.mirrors import Mirrors
from registry.mirror.settings import MirrorSettings
from registry.mirror.syncing import Synced, Syncing
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.model.platforms import Platform
from registry.model.units import format_size
from registry.remote.errors import UpstreamError
from registry.remote.upstream import Upstream
from registry.work.operations import Context, Operation, Progress, Result, Status, argument, option
from storage.errors import StorageError

Outcome = AsyncIterator[Progress | Result]

_LINE = 4096
_NOTHING = (
    "mirrors[].sync of {} selects nothing: it means no tag, or by a pattern no repository that is held; an"
    " upstream does not list its repositories, so name them, or fetch something of each first"
)


@dataclass(frozen=True, slots=True)
class ListMirrors:
    """Nothing to choose."""


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace as it is configured."""

    name: str
    upstreams: list[str]
    answers_for: list[str]
    listen: str | None
    repositories: list[str]
    fresh_for_seconds: float
    strict: list[str]
    precedence: str
    mirrors: list[str]
    max_bytes: int | None
    pins: list[ShownPin]


@dataclass(frozen=True, slots=True)
class Namespaces:
    """All of them."""

    namespaces: list[Namespace]

    def told(self) -> str:
        """A line for each, and for each pin."""
        if not self.namespaces:
            return "no namespace comes from elsewhere (docs/mirrors.md)"
        lines = []
        for one in self.namespaces:
            hosts = f", for {', '.join(one.answers_for)}" if one.answers_for else ""
            most = "" if one.max_bytes is None else f", {format_size(one.max_bytes)} at most"
            bound = "" if one.listen is None else f", without {one.name}/ at {one.listen}"
            lines.append(f"{one.name}: from {', '.join(one.upstreams) or 'nowhere'}{hosts}{bound}{most}")
            lines += [f"  mirrored ahead: {pattern}" for pattern in one.mirrors]
            lines += [f"  pinned: {pin.reference}" for pin in one.pins]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class OneNamespace:
    """Which."""

    namespace: str | None = argument("the namespace, like hub; all if none is given", default=None)


@dataclass(frozen=True, slots=True)
class UpstreamState:
    """How an upstream answers just now, and what it says of how much may be asked."""

    namespace: str
    upstream: str
    answers: bool
    cause: str | None
    reason: str | None
    limit: int | None
    remaining: int | None


@dataclass(frozen=True, slots=True)
class UpstreamStates:
    """All of them; under way are blobs that this process fetches or follows.

    `synced` and `evicted` are what came of the last times.
    """

    upstreams: list[UpstreamState]
    under_way: int
    synced: list[Synced]
    evicted: list[Evicted]

    def told(self) -> str:
        """A line for each."""
        lines = []
        for one in self.upstreams:
            state = "answers" if one.answers else f"{one.cause}: {one.reason}"
            left = "" if one.remaining is None else f" ({one.remaining} of {one.limit} pulls left)"
            lines.append(f"{one.namespace}: {one.upstream} {state}{left}")
        lines.append(f"blobs under way: {self.under_way}")
        for synced in self.synced:
            lines += [f"mirrored at {synced.began:%Y-%m-%d %H:%M:%S}", *synced.told().splitlines()]
        for evicted in self.evicted:
            lines += [f"evicted at {evicted.began:%Y-%m-%d %H:%M:%S}", *evicted.told().splitlines()]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class AllSynced:
    """What came of each."""

    namespaces: list[Synced]

    def told(self) -> str:
        """For people."""
        return (
            "\n".join(one.told() for one in self.namespaces) or "nothing is to be mirrored (mirrors[].sync)"
        )


@dataclass(frozen=True, slots=True)
class Prefetch:
    """What to fetch, and which parts of it."""

    references: tuple[str, ...] = argument("images, like hub/library/busybox:1.36", default=())
    file: Path | None = option("a file with an image on each line, too", default=None, local=True)
    platform: tuple[Platform, ...] = option("of an index only these, like linux/amd64", default=())
    without_referrers: bool = option("leave out signatures and other referrers", default=False)


@dataclass(slots=True)
class Prefetched:
    """What came, and what did not, and why."""

    images: int = 0
    manifests: int = 0
    blobs: int = 0
    size_bytes: int = 0
    failures: list[str] = field(default_factory=list)

    def told(self) -> str:
        """For people."""
        all_images = self.images + len(self.failures)
        came = f"{self.blobs} blobs came ({format_size(self.size_bytes)})"
        lines = [f"{self.images} of {all_images} images are held as their upstreams have them; {came}"]
        return "\n".join([*lines, *(f"failed: {one}" for one in self.failures)])


def operations(
    registry: Callable[[], Registry],
    settings: Iterable[MirrorSettings],
    opened: Callable[[], AbstractAsyncContextManager[Mirrors]],
    who: str,
) -> Iterable[Operation[Any]]:
    """Operations on the namespaces; `opened` gives them while one of these runs."""
    configured = tuple(settings)

    async def mirror_list(_: ListMirrors, __: Context) -> Outcome:
        pins = [await pins_below(registry(), one) for one in configured]
        yield Result(Namespaces([_shown(*one) for one in zip(configured, pins, strict=True)]))

    async def mirror_status(asked: OneNamespace, _: Context) -> Outcome:
        async with opened() as mirrors:
            states, synced, evicted = [], [], []
            for mirror in _meant(mirrors, asked.namespace):
                synced += await Syncing(registry(), mirror, who=who).reports.last(1)
                evicted += await last_evicted(registry(), mirror.settings, who)
                states += [await _state(mirror.name, one) for one in mirror.upstreams.each]
            under_way = sum(mirror.blobs.under_way for mirror in mirrors.each)
        failed = any(not one.answers for one in states)
        yield Result(
            UpstreamStates(states, under_way, synced, evicted), Status.FAILED if failed else Status.DONE
        )

    async def mirror_sync(asked: OneNamespace, context: Context) -> Outcome:
        all_synced = AllSynced([])
        async with opened() as mirrors:
            for mirror in _meant(mirrors, asked.namespace):
                if not mirror.settings.sync:
                    continue
                syncing = Syncing(registry(), mirror, who=who)
                if not context.dry_run:
                    async for waiting in syncing.leased.waiting():
                        yield waiting
                async for one in syncing.run(dry_run=context.dry_run):
                    if isinstance(one, Synced):
                        all_synced.namespaces.append(one)
                    else:
                        yield _progress(one, str(mirror.name))
        failed = any(one.failures for one in all_synced.namespaces)
        notes = [_NOTHING.format(one.namespace) for one in all_synced.namespaces if one.is_empty]
        yield Result(all_synced, Status.FAILED if failed else Status.DONE, "\n".join(notes))

    async def mirror_prefetch(asked: Prefetch, _: Context) -> Outcome:
        wanted = [*asked.references, *(_lines(asked.file) if asked.file else ())]
        if not wanted:
            raise InputInvalid("name images, like hub/library/busybox:1.36, or a --file that does")
        parts = Parts(asked.platform, not asked.without_referrers)
        found, came = Prefetched(), Came()
        async with opened() as mirrors:
            for text in wanted:
                try:
                    name, reference = _reference(text)
                    mirror = mirrors.of(name)
                    if mirror is None:
                        raise NameUnknown(f"{name} is in no namespace whose upstreams may be asked for it")
                    async for _more in _fetch(registry(), mirror, name, reference, parts, came):
                        yield _progress(came, text)
                    found.images += 1
                except (UpstreamError, RegistryError, StorageError) as error:
                    found.failures.append(f"{text}: {why(error)}")
                found.manifests, found.blobs, found.size_bytes = came.manifests, came.blobs, came.size_bytes
        yield Result(found, Status.FAILED if found.failures else Status.DONE)

    return (
        Operation(
            "mirror.list",
            "List the namespaces whose content comes from other registries",
            "admin",
            False,
            ListMirrors,
            mirror_list,
            needs_store=lambda _: False,
            result=Namespaces,
        ),
        Operation(
            "mirror.status",
            "Ask the upstreams of namespaces, and show how they answer",
            "admin",
            False,
            OneNamespace,
            mirror_status,
            needs_store=lambda _: False,
            result=UpstreamStates,
        ),
        Operation(
            "mirror.sync",
            "Have what namespaces are to mirror as their upstreams have it now: fetched, or removed",
            "admin",
            True,
            OneNamespace,
            mirror_sync,
            event="mirror.synced",
            result=AllSynced,
        ),
        Operation(
            "mirror.prefetch",
            "Fetch images whole, before anybody asks for them",
            "admin",
            False,
            Prefetch,
            mirror_prefetch,
            changes=True,
            event="mirror.prefetched",
            result=Prefetched,
        ),
    )


async def _fetch(
    registry: Registry,
    mirror: Mirror,
    name: RepositoryName,
    reference: Tag | Digest,
    parts: Parts,
    came: Came,
) -> AsyncIterator[None]:
    if isinstance(reference, Tag):
        root = await mirror.refreshed(name, reference)
    else:
        root = await mirror.by_digest(name, reference)
    async for _ in Images(mirror, registry).fetch(name, root, parts, came):
        yield


def _progress(came: Came, text: str) -> Progress:
    """How far it is: what is yet to come counts as far as manifests have told of it."""
    return Progress(came.size_bytes, came.expected_bytes, "bytes", text)


async def _state(namespace: str, upstream: Upstream) -> UpstreamState:
    error: UpstreamError | None = None
    try:
        await upstream.check()
    except UpstreamError as failure:
        error = failure
    limit = upstream.rate_limit
    return UpstreamState(
        str(namespace),
        upstream.host,
        error is None,
        None if error is None else error.cause,
        None if error is None else error.reason,
        None if limit is None else limit.limit,
        None if limit is None else limit.remaining,
    )


def _meant(mirrors: Mirrors, name: str | None) -> list[Mirror]:
    if name is None:
        return list(mirrors.each)
    found = [mirror for mirror in mirrors.each if mirror.name == name]
    if not found:
        raise NameUnknown(f"there is no namespace {name}; `moorage mirror list` shows them")
    return found


def _shown(settings: MirrorSettings, pins: list[ShownPin]) -> Namespace:
    return Namespace(
        settings.name,
        [one.url for one in settings.upstreams],
        list(settings.answers_for),
        settings.listen,
        ["**"] if settings.repositories is None else [str(one) for one in settings.repositories],
        settings.fresh_for.total_seconds(),
        list(settings.strict),
        settings.precedence,
        [str(one) for section in settings.sync for one in section.repositories],
        settings.max_size,
        pins,
    )


def _reference(text: str) -> tuple[RepositoryName, Tag | Digest]:
    """What a text names. Raises NameInvalid, TagInvalid, DigestInvalid."""
    name, at, digest = text.partition("@")
    if at:
        return RepositoryName(name.partition(":")[0]), Digest.parse(digest)
    name, _, tag = text.partition(":")
    return RepositoryName(name), Tag(tag or "latest")


def _lines(file: Path) -> list[str]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RequestInvalid(f"{file} cannot be read: {error}") from error
    lines = (line.partition("#")[0].strip()[:_LINE] for line in text.splitlines())
    return [line for line in lines if line]
