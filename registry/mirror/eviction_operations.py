"""What mirrors offer to operators who bound them: pins, and evicting what is too much."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from registry.core.registry import Registry
from registry.errors import NameInvalid, NameUnknown, Unsupported
from registry.mirror.evicting import Evicted, Evicting
from registry.mirror.settings import MirrorSettings
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.model.quoting import quoted
from registry.store.pins import Pin
from registry.upkeep.retention.in_use import InUse
from registry.work.operations import Context, Operation, Progress, Result, Status, Touched, argument

Outcome = AsyncIterator[Progress | Result]
Reference = Tag | Digest | None


@dataclass(frozen=True, slots=True)
class OnePin:
    """What is to be pinned, or not any more."""

    reference: str = argument(
        "a repository, like hub/library/busybox, or a tag of it (and :1.36), or a manifest (and @sha256:…)"
    )


@dataclass(frozen=True, slots=True)
class Pinned:
    """What is pinned now, and whether any of it is held yet."""

    reference: str
    held: bool

    def told(self) -> str:
        """What that means."""
        later = "" if self.held else "; nothing of it is held yet, and what comes of it stays"
        return f"{self.reference} is pinned{later}"


@dataclass(frozen=True, slots=True)
class Unpinned:
    """What is not pinned any more, and whether it was."""

    reference: str
    was_pinned: bool

    def told(self) -> str:
        """What that means."""
        before = "is not pinned any more" if self.was_pinned else "was not pinned"
        return f"{self.reference} {before}"


@dataclass(frozen=True, slots=True)
class ShownPin:
    """What is pinned, by whom and since when; empty and None where that cannot be read."""

    reference: str
    by: str
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Evict:
    """From which namespace."""

    namespace: str | None = argument(
        "the namespace, like hub; all with a max_size if none is given", default=None
    )


@dataclass(frozen=True, slots=True)
class AllEvicted:
    """What came of each."""

    namespaces: list[Evicted]

    def told(self) -> str:
        """For people."""
        return "\n".join(one.told() for one in self.namespaces) or "no namespace has a mirrors[].max_size"


def operations(
    registry: Callable[[], Registry],
    settings: Iterable[MirrorSettings],
    in_use: Callable[[], Awaitable[InUse]],
    who: str,
) -> Iterable[Operation[Any]]:
    """Operations on the registry that is open when one of them runs; what is `in_use` stays."""
    configured = tuple(settings)

    async def mirror_pin(asked: OnePin, context: Context) -> Outcome:
        name, reference = _reference(asked.reference)
        if not any(name.startswith(f"{one.name}/") for one in configured):
            raise NameUnknown(
                f"{name} is in no namespace that comes from elsewhere; `moorage mirror list` shows them"
            )
        registry().require_writable()
        await registry().store.pins.put(name, reference, context.by)
        yield Result(Pinned(str(Pin(name, reference)), await _is_held(registry(), name, reference)))

    async def mirror_unpin(asked: OnePin, _: Context) -> Outcome:
        name, reference = _reference(asked.reference)
        registry().require_writable()
        was_pinned = await registry().store.pins.remove(name, reference)
        yield Result(Unpinned(str(Pin(name, reference)), was_pinned))

    async def mirror_evict(asked: Evict, context: Context) -> Outcome:
        found = AllEvicted([])
        for one in _meant(configured, asked.namespace):
            evicting = Evicting(registry(), one, who=who, in_use=in_use)
            if not context.dry_run:
                async for waiting in evicting.leased.waiting():
                    yield waiting
            async for evicted in evicting.run(dry_run=context.dry_run):
                if evicted.ended is None:
                    yield Progress(evicted.repositories, None, "items", one.name)
                else:
                    found.namespaces.append(evicted)
        failed = any(one.failures for one in found.namespaces)
        yield Result(found, Status.FAILED if failed else Status.DONE)

    return (
        Operation(
            "mirror.pin",
            "Keep a repository of a mirror, a tag or a manifest, however long nobody has asked for it",
            "admin",
            False,
            OnePin,
            mirror_pin,
            touches=_touched,
            changes=True,
            event="mirror.pinned",
            result=Pinned,
        ),
        Operation(
            "mirror.unpin",
            "Let go of a pin: what it kept may be evicted again",
            "admin",
            False,
            OnePin,
            mirror_unpin,
            touches=_touched,
            changes=True,
            event="mirror.unpinned",
            result=Unpinned,
        ),
        Operation(
            "mirror.evict",
            "Remove what was not used for longest where a mirror holds more than its max_size",
            "admin",
            True,
            Evict,
            mirror_evict,
            event="mirror.evicted",
            result=AllEvicted,
        ),
    )


async def pins_below(registry: Registry, settings: MirrorSettings) -> list[ShownPin]:
    """What is pinned of a namespace."""
    pins = registry.store.pins.below(RepositoryName(settings.name))
    return [ShownPin(str(one), one.by, one.at) async for one in pins]


async def last_evicted(registry: Registry, settings: MirrorSettings, who: str) -> list[Evicted]:
    """What came of the last eviction from a namespace, if there was one."""
    return await Evicting(registry, settings, who=who).reports.last(1)


def _touched(asked: OnePin) -> Touched:
    name, reference = _reference(asked.reference)
    return name, reference if isinstance(reference, Tag) else None


def _reference(text: str) -> tuple[RepositoryName, Reference]:
    """What a text means. Raises NameInvalid, TagInvalid, DigestInvalid."""
    name, at, digest = text.partition("@")
    if at and ":" in name:
        raise NameInvalid(f"{quoted(text)} names a tag and a manifest: leave one of them out")
    if at:
        return RepositoryName(name), Digest.parse(digest).require_supported()
    name, colon, tag = text.partition(":")
    return RepositoryName(name), Tag(tag) if colon else None


async def _is_held(registry: Registry, name: RepositoryName, reference: Reference) -> bool:
    store = registry.store
    if isinstance(reference, Digest):
        return await store.manifests.exists(name, reference)
    if reference is None:
        return await store.catalog.holds_content(name)
    return await store.links.target(name, reference) is not None


def _meant(settings: tuple[MirrorSettings, ...], name: str | None) -> list[MirrorSettings]:
    if name is None:
        return [one for one in settings if one.max_size is not None]
    found = [one for one in settings if one.name == name]
    if not found:
        raise NameUnknown(f"there is no namespace {name}; `moorage mirror list` shows them")
    if found[0].max_size is None:
        raise Unsupported(f"{name} has no mirrors[].max_size, so nothing of it is too much")
    return found
