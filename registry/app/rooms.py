"""What can be asked of a registry: the operations of all rooms, by the noun that they begin with.

Each room is imported when its nouns are wanted: a command about tags need not know what bundles are.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from registry.access.audit import Audit, audited
from registry.app.process import process
from registry.bundles.settings import BundlesSettings
from registry.core.registry import Registry
from registry.work.operations import Operation

if TYPE_CHECKING:
    from registry.access.administration import Administration
    from registry.app.storage import Storage
    from registry.bundles.bundles import Bundles
    from registry.mirror.client_operations import Reached
    from registry.mirror.mirrors import Mirrors
    from registry.upkeep.collecting import Collecting
    from registry.upkeep.counting import Counting
    from registry.upkeep.crash.report import Place
    from registry.upkeep.retention.retaining import Retaining
    from registry.upkeep.scrubbing import Scrubbing

Offered = Iterable[Operation[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What the operations work with, had when it is needed."""

    registry: Callable[[], Registry]
    office: Callable[[], Administration]
    audit: Callable[[], Audit]
    storage: Callable[[], Storage]
    collecting: Callable[[], Collecting]
    scrubbing: Callable[[], Scrubbing]
    retaining: Callable[[], Retaining]
    counting: Callable[[], Counting]
    mirrors: Callable[[], AbstractAsyncContextManager[Mirrors]]
    bundles: Callable[[], Bundles]
    reached: Callable[[], Reached]
    place: Callable[[], Place | None]
    keep_for: timedelta
    bundles_settings: BundlesSettings
    deletes: bool = True


def offered(means: Means, noun: str | None = None) -> list[Operation[Any]]:
    """What is offered of one noun, or (None) of all; what changes anything is written down."""
    return [
        audited(operation, means.audit)
        for nouns, room in _ROOMS
        if noun is None or noun in nouns
        for operation in room(means)
        if noun is None or operation.words[0] == noun
    ]


def _core(means: Means) -> Offered:
    from registry.core.operations import operations

    return operations(means.registry, deletes=means.deletes)


def _tags(means: Means) -> Offered:
    from registry.core.tag_operations import operations

    return operations(means.registry)


def _trash(means: Means) -> Offered:
    from registry.core.trash_operations import operations

    return operations(means.registry, means.keep_for)


def _pulls(means: Means) -> Offered:
    from registry.core.pull_operations import operations

    return operations(means.registry)


def _storage(means: Means) -> Offered:
    from registry.upkeep.adopt_operations import operations as adopt_operations
    from registry.upkeep.operations import operations

    def leading() -> AsyncIterator[tuple[str, str]]:
        return means.storage().leading_out()

    return (
        *operations(means.registry, means.place(), lambda: means.storage().try_out(), leading),
        *adopt_operations(means.registry, leading),
    )


def _gc(means: Means) -> Offered:
    from registry.upkeep.gc_operations import operations

    return operations(means.collecting)


def _scrub(means: Means) -> Offered:
    from registry.upkeep.scrub_operations import operations

    return operations(means.scrubbing)


def _retention(means: Means) -> Offered:
    from registry.upkeep.retention.operations import operations

    return operations(means.retaining)


def _usage(means: Means) -> Offered:
    from registry.upkeep.usage_operations import operations

    return operations(means.counting)


def _purge(means: Means) -> Offered:
    from registry.upkeep.purge_operations import operations

    return operations(means.collecting)


def _users(means: Means) -> Offered:
    from registry.access.user_operations import operations

    return operations(means.office)


def _apikeys(means: Means) -> Offered:
    from registry.access.apikey_operations import operations

    return operations(means.office)


def _rules(means: Means) -> Offered:
    from registry.access.rule_operations import operations

    return operations(means.office)


def _audit(means: Means) -> Offered:
    from registry.access.operations import operations

    return operations(means.registry, means.audit)


def _mirror(means: Means) -> Offered:
    from registry.mirror.eviction_operations import operations as eviction_operations
    from registry.mirror.operations import operations

    mirrors = means.reached().mirrors
    return (
        *operations(means.registry, mirrors, means.mirrors, process()),
        *eviction_operations(means.registry, mirrors, lambda: means.retaining().in_use(), process()),
    )


def _client(means: Means) -> Offered:
    from registry.mirror.client_operations import operations

    return operations(means.reached())


def _bundle(means: Means) -> Offered:
    from registry.bundles import (
        decision_operations,
        export_operations,
        import_operations,
        key_operations,
        kit_operations,
        list_operations,
        plan_operations,
        telling_operations,
        verify_operations,
    )

    return (
        *plan_operations.operations(means.bundles),
        *export_operations.operations(means.bundles),
        *telling_operations.operations(means.bundles),
        *import_operations.operations(means.bundles),
        *decision_operations.operations(means.bundles),
        *list_operations.operations(means.bundles),
        *key_operations.operations(means.bundles_settings),
        *verify_operations.operations(means.bundles_settings),
        *kit_operations.operations(means.bundles),
    )


# The nouns of each; a test sees that they are those of its operations.
_ROOMS: tuple[tuple[frozenset[str], Callable[[Means], Offered]], ...] = (
    (frozenset({"repo", "tag"}), _core),
    (frozenset({"tag"}), _tags),
    (frozenset({"repo", "trash"}), _trash),
    (frozenset({"pulls"}), _pulls),
    (frozenset({"storage"}), _storage),
    (frozenset({"gc", "trash"}), _gc),
    (frozenset({"scrub"}), _scrub),
    (frozenset({"retention"}), _retention),
    (frozenset({"usage"}), _usage),
    (frozenset({"trash"}), _purge),
    (frozenset({"user"}), _users),
    (frozenset({"apikey"}), _apikeys),
    (frozenset({"access"}), _rules),
    (frozenset({"audit"}), _audit),
    (frozenset({"mirror"}), _mirror),
    (frozenset({"client"}), _client),
    (frozenset({"bundle"}), _bundle),
)
NOUNS = frozenset(noun for nouns, _ in _ROOMS for noun in nouns)
