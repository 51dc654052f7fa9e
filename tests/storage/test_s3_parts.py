"""How the S3 driver cuts, joins, waits and tidies up, with limits that are smaller than S3's."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import TooLarge, Unavailable
from storage.s3.driver import S3Driver
from storage.s3.joining import planned
from storage.s3.room import Room
from tests.storage.buckets import Bucket
from tests.storage.probing import MIB, pieces

# A store that speaks HTTP, though in this process.
pytestmark = pytest.mark.e2e

PART = 5 * MIB


@pytest.fixture
def bucket(client: Any, credentials: None) -> Bucket:
    """A new one, of which a part is used."""
    return Bucket(client, "below")


@asynccontextmanager
async def opened(bucket: Bucket, **options: Any) -> AsyncIterator[S3Driver]:
    """A driver with limits of its own."""
    driver = S3Driver(bucket.options(**options))
    await driver.start()
    try:
        yield driver
    finally:
        assert driver._room.used_bytes == 0
        await driver.aclose()


@given(st.lists(st.integers(0, 40), max_size=30), st.integers(20, 30))
def test_every_plan_is_one_that_a_store_takes(sizes: list[int], most: int) -> None:
    """Here 10 is the least that a part may have."""
    sources = [(f"s{number}", size) for number, size in enumerate(sizes)]
    parts = planned(sources, 10, most)
    spans = [(span.key, span.start, span.end) for part in parts for span in part]
    reached: dict[str, int] = {}
    for key, start, end in spans:
        assert start == reached.get(key, 0) < end
        reached[key] = end
    assert reached == {key: size for key, size in sources if size}
    assert [key for key, _, _ in spans] == sorted((key for key, _, _ in spans), key=lambda key: int(key[1:]))
    counts = [sum(span.count for span in part) for part in parts]
    assert all(10 <= count <= max(most, 19) for count in counts[:-1])
    assert all(len(part) == 1 or sum(span.count for span in part) <= 10 for part in parts)


async def test_more_sources_than_parts_are_joined_in_groups(bucket: Bucket) -> None:
    data = [os.urandom(PART + number) for number in range(7)]
    for number, one in enumerate(data):
        bucket.set(f"s{number}", one)
    async with opened(bucket, most_parts=4) as driver:
        await driver.compose("key", [f"s{number}" for number in range(7)], size=sum(map(len, data)))
    assert bucket.get("key") == b"".join(data)
    assert bucket.names() == {"key"}


async def test_a_large_source_is_copied_in_parts(bucket: Bucket) -> None:
    data = os.urandom(5 * PART + 1)
    bucket.set("a", data)
    async with opened(bucket, copy_part_bytes=2 * PART + 7) as driver:
        await driver.copy("b", "a")
        assert bucket.get("b") == data
        await driver.compose("c", ["a"], size=len(data))
    assert bucket.get("c") == data
    assert bucket.names() == {"b", "c"}


async def test_more_than_the_parts_hold_is_too_large(bucket: Bucket) -> None:
    async with opened(bucket, part_bytes=PART, most_parts=2) as driver:
        with pytest.raises(TooLarge, match="part_bytes"):
            await driver.write("key", pieces(*[os.urandom(MIB)] * 16))
    assert bucket.names() == set()


async def test_many_pushes_stay_within_the_room_and_all_come_through(bucket: Bucket) -> None:
    data = [os.urandom(7 * MIB) for _ in range(8)]
    async with opened(bucket, part_bytes=2 * PART, part_buffer_bytes=4 * PART) as driver:
        most = 0

        async def watched(one: bytes) -> AsyncIterator[bytes]:
            nonlocal most
            for at in range(0, len(one), MIB):
                most = max(most, driver._room.used_bytes)
                yield one[at : at + MIB]

        calls = (driver.write(f"k{number}", watched(one)) for number, one in enumerate(data))
        await asyncio.gather(*calls)
    assert 0 < most <= 4 * PART
    for number, one in enumerate(data):
        assert bucket.get(f"k{number}") == one


async def test_who_waits_for_room_is_let_in_by_turns_and_told_when_it_takes_too_long() -> None:
    holders = "abcd"
    room = Room(15, 5, 0.01)
    assert room.take(8)
    await room.wait("key", holders[0], 3)  # goes over, since somebody must be able to end
    assert not room.take(1)
    with pytest.raises(Unavailable, match="part_buffer_bytes"):
        await room.wait("key", holders[1], 1)
    await room.wait("key", holders[0], 2)
    assert room.used_bytes == 13
    room = Room(15, 5, 60)
    assert room.take(8)
    await room.wait("key", holders[0], 3)
    first, second, third = (
        asyncio.create_task(room.wait("key", holder, count))
        for holder, count in zip(holders[1:], (8, 2, 1), strict=True)
    )
    await asyncio.sleep(0)
    room.give(3)
    assert not room.take(2), "nobody overtakes"
    first.cancel()
    await asyncio.wait([first, second])
    assert first.cancelled()
    assert second.done()
    assert not third.done()
    room.sent(holders[0])
    await third
    assert room.used_bytes == 11


async def test_names_come_in_order_a_few_at_a_time(bucket: Bucket) -> None:
    names = ["a", "a-b", "a-b.c", "a.b", "a.b-c", "a0", "b", "b-", "b-.", "b.0", "b.0-1", "c"]
    for number, name in enumerate(names):
        bucket.set(f"p/{name}/x" if number % 2 == 0 else f"p/{name}", b"")
    async with opened(bucket) as driver:
        for limit in range(1, len(names) + 1):
            seen: list[str] = []
            while page := await driver.children("p", after=seen[-1] if seen else "", limit=limit):
                seen += page
            assert seen == sorted(names), limit


async def test_what_was_left_unfinished_for_a_day_is_removed(bucket: Bucket) -> None:
    for key in ("below/a/b", "elsewhere/c"):
        bucket.client.create_multipart_upload(Bucket=bucket.name, Key=key)
    bucket.set(".tmp-joins/x", b"")
    bucket.set("a/.tmp", b"")

    def left() -> list[str]:
        return [one["Key"] for one in bucket.client.list_multipart_uploads(Bucket=bucket.name)["Uploads"]]

    # The emulator has one time for all uploads.
    begun = bucket.client.list_multipart_uploads(Bucket=bucket.name)["Uploads"][0]["Initiated"]
    async with opened(bucket) as driver:
        driver._now = lambda: begun + timedelta(hours=23)
        await driver.sweep()
        assert left() == ["below/a/b", "elsewhere/c"]
        driver._now = lambda: begun + timedelta(hours=25)
        await driver.sweep()
        assert left() == ["elsewhere/c"]
        assert bucket.get(".tmp-joins/x") is not None
        driver._now = lambda: datetime.now(UTC) + timedelta(hours=25)
        await driver.sweep()
    assert bucket.get(".tmp-joins/x") is None
    assert bucket.get("a/.tmp") == b""


async def test_objects_are_made_with_the_properties_asked_for(bucket: Bucket) -> None:
    async with opened(bucket, encryption="AES256", storage_class="STANDARD_IA", part_bytes=PART) as driver:
        await driver.put("small", b"x")
        await driver.write("large", pieces(os.urandom(2 * PART)))
        await driver.copy("copied", "small")
    for key in ("small", "large", "copied"):
        head = bucket.client.head_object(Bucket=bucket.name, Key=f"below/{key}")
        assert head["StorageClass"] == "STANDARD_IA"
        assert head["ServerSideEncryption"] == "AES256"
        assert head["ContentType"] == "application/octet-stream"


async def test_a_name_longer_than_s3_allows_is_too_large(bucket: Bucket) -> None:
    async with opened(bucket) as driver:
        await driver.put("a" * (1024 - len("below/")), b"x")
        with pytest.raises(TooLarge):
            await driver.put("a" * (1025 - len("below/")), b"x")
