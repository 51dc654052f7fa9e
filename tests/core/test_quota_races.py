"""Pushes beside a count, in every order of their calls to the storage: nothing visible fails to count."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import cast

import pytest

from registry.core.registry import Registry
from registry.core.uploads import UploadLimits
from registry.errors import QuotaExceeded
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.store.store import Store
from registry.upkeep.recounting import Recount
from registry.upkeep.usage import Ledger, count
from registry.upkeep.usage_reports import Count
from storage.contract import Driver
from storage.memory import MemoryDriver
from tests.inmemory import NAME, Bytes, image
from tests.interleaving import Actor, PausingDriver, counted_effects, explore, run
from tests.upkeep.gathering import no_step

pytestmark = pytest.mark.exhaustive

TEAM = RepositoryName("team")
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
ONE, TWO = image("one", layers=(b"x",)), image("two", layers=(b"y",))


def process(driver: Driver, limit: int = 100_000) -> Registry:
    """A process of its own on the store."""
    return Registry(
        Store(driver, counted_effects(), manifest_cache_bytes=0),
        uploads=UploadLimits(open=100, chunks=100, in_flight=100),
        max_references=100,
        allow_missing_layers=False,
        deletes=True,
        read_only=False,
        quotas={TEAM: limit},
    )


def shelf(before: Sequence[Callable[[Driver], Actor]] = ()) -> MemoryDriver:
    """A store with one image, and with the blobs of another, to which something was done."""
    driver = MemoryDriver(clock=lambda: BEGIN)
    repository = process(driver).repository(NAME, "tester")

    async def fill() -> None:
        for blob in (b"{}", b"x", b"y"):
            await repository.push_blob(Digest.of(blob), Bytes(blob))
        await repository.push_manifest(Tag("one"), ONE, None, [])

    run(fill())
    for act in before:
        run(act(driver))
    return driver


async def counting(driver: Driver) -> None:
    """A count as whoever holds the lease makes it."""
    store = process(driver).store
    recount = Recount(store, [TEAM])
    await recount.begin(BEGIN.timestamp())
    ledger = Ledger(recount.prefixes)
    async for _ in count(store, ledger, Count(BEGIN, "tester"), no_step):
        pass
    await recount.end(ledger)


async def push(driver: Driver, content: bytes, limit: int = 100_000) -> None:
    with suppress(QuotaExceeded):
        await (
            process(driver, limit)
            .repository(NAME, "tester")
            .push_manifest(Tag(json.loads(content)["annotations"]["note"]), content, None, [])
        )


async def delete(driver: Driver) -> None:
    await process(driver).repository(NAME, "tester").delete_manifest(Digest.of(ONE))


def used(driver: Driver) -> int:
    """What counts for the quota."""
    return run(process(driver).quotas.exactly(TEAM)).used_bytes


def needed(driver: Driver) -> int:
    """What counts by the definition."""

    async def read() -> int:
        store = process(driver).store
        sizes: dict[str, int] = {}
        async for digest in store.links.manifests(NAME):
            content = (await store.manifests.read(NAME, digest)).content
            document = json.loads(content)
            sizes[str(digest)] = len(content)
            sizes |= {one["digest"]: one["size"] for one in [document["config"], *document["layers"]]}
        return sum(sizes.values())

    return run(read())


async def begin_to_count(driver: Driver) -> None:
    """A count whose process dies."""
    await Recount(process(driver).store, [TEAM]).begin(BEGIN.timestamp())


async def push_one(driver: Driver) -> None:
    await push(driver, ONE)


async def push_two(driver: Driver) -> None:
    await push(driver, TWO)


Acts = list[Callable[[Driver], Actor]]
# What was done before, and what comes beside the count.
BESIDE: dict[str, tuple[Acts, Acts]] = {
    "a push": ([], [push_two]),
    "the same push again": ([], [push_one]),
    "a push of what was deleted": ([delete], [push_one]),
    "a push of what was counted and deleted": ([counting, delete], [push_one]),
    "a push of what was deleted since a count died": ([counting, delete, begin_to_count], [push_one]),
    "a push of what was pushed and deleted since a count died": (
        [begin_to_count, push_one, delete],
        [push_one],
    ),
    "a push of what somebody deletes": ([counting], [delete, push_one]),
    "a delete": ([counting], [delete]),
    "another count": ([], [counting]),
}


@pytest.mark.parametrize("beside", BESIDE)
def test_what_comes_beside_a_count_counts_and_the_next_is_exact(beside: str) -> None:
    before, acts = BESIDE[beside]

    def world() -> tuple[list[Actor], Callable[[], None]]:
        driver = shelf(before)
        assert used(driver) >= needed(driver)

        def verify() -> None:
            assert used(driver) >= needed(driver)
            run(counting(driver))
            assert used(driver) == needed(driver)

        return [act(cast(Driver, PausingDriver(driver))) for act in (counting, *acts)], verify

    assert explore(world, preemptions=2 if len(acts) == 1 else 1) > 100


def test_a_push_is_refused_by_nothing_that_counts_twice() -> None:
    """While a count is said, and what was added is not yet let go of, all of it is there twice."""
    limit = needed(_with(TWO))

    def world() -> tuple[list[Actor], Callable[[], None]]:
        driver = shelf()

        async def act() -> None:
            await push(cast(Driver, PausingDriver(driver)), TWO, limit)

        def verify() -> None:
            assert needed(driver) == limit

        return [counting(cast(Driver, PausingDriver(driver))), act()], verify

    assert explore(world, preemptions=2) > 100


def test_whoever_looks_while_a_count_is_said_sees_no_less_than_there_is() -> None:
    def world() -> tuple[list[Actor], Callable[[], None]]:
        driver = shelf()
        seen: list[int] = []

        async def look() -> None:
            quotas = process(cast(Driver, PausingDriver(driver))).quotas
            seen.append((await quotas.exactly(TEAM)).used_bytes)

        def verify() -> None:
            assert seen == [needed(driver)]

        return [counting(cast(Driver, PausingDriver(driver))), look()], verify

    assert explore(world, preemptions=3) > 100


def _with(content: bytes) -> MemoryDriver:
    driver = shelf()
    run(push(driver, content))
    return driver
