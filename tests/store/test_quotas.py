"""What a count has found is looked up, be it one digest or thousands, in a row of any length."""

from __future__ import annotations

import pytest

from registry.model.digests import Digest
from registry.model.names import RepositoryName
from registry.store.quotas import QuotaIndex
from tests.inmemory import World

PREFIX = RepositoryName("team")


def digests(count: int, note: str = "") -> list[Digest]:
    return [Digest.of(f"{note}{number}".encode()) for number in range(count)]


@pytest.mark.parametrize("counted", [0, 1, 4096, 4097, 20_000])
@pytest.mark.parametrize("asked", [1, 3, 500])
async def test_what_was_counted_is_found_and_nothing_else(counted: int, asked: int) -> None:
    world = World()
    index = QuotaIndex(world.driver)
    there = digests(counted)
    begun = await index.begin(PREFIX, 1.0)
    await index.end(PREFIX, begun, counted, sorted(digest.half for digest in there))
    last = (await index.counts(PREFIX)).last
    assert last is not None
    present = there[:: max(1, counted // asked)][:asked]
    world.counted.calls.clear()
    assert await index.holds(last, [*present, *digests(asked, "other")]) == set(present)
    # As many reads as there are digests, or pieces of the row, whichever is less, but for chance.
    assert world.counted.calls["open"] <= min(2 * asked + 8, counted // 4096 + 1)
