"""What the S3 driver makes of answers that are lost, cut off or refused, and of callers that leave."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from time import monotonic

import pytest

from storage.errors import AlreadyExists, NotFound, Unavailable
from storage.s3.driver import S3Driver
from tests.storage.buckets import Bucket
from tests.storage.misbehaving import Fault, Proxy, Rule
from tests.storage.probing import MIB, pieces, read

# A store that speaks HTTP, though in this process.
pytestmark = pytest.mark.e2e

PART = 5 * MIB


@pytest.fixture
async def driver(bucket: Bucket, proxy: Proxy, credentials: None) -> AsyncIterator[S3Driver]:
    """One behind the proxy, with small parts."""
    driver = S3Driver(bucket.options(endpoint=proxy.endpoint, part_bytes=PART, body_threads=2))
    await driver.start()
    yield driver
    assert driver._room.used_bytes == 0
    await driver.aclose()


@pytest.mark.parametrize("fault", ["lose", "reset", 500])
async def test_a_put_if_absent_whose_answer_is_lost_has_won(
    driver: S3Driver, bucket: Bucket, proxy: Proxy, fault: Fault
) -> None:
    proxy.rules.append(Rule("PUT", "/key", fault))
    await driver.put("key", b"ours", if_absent=True)
    assert bucket.get("key") == b"ours"
    assert [one.partition(" ")[0] for one in proxy.seen] == ["PUT", "GET"], "read back, and not put again"


@pytest.mark.parametrize("fault", ["drop", "lose", "reset", 409, 500, 503])
async def test_a_put_if_absent_never_wins_over_others(
    driver: S3Driver, bucket: Bucket, proxy: Proxy, fault: Fault
) -> None:
    proxy.rules.append(Rule("PUT", "/key", fault, before=lambda: bucket.set("key", b"theirs")))
    with pytest.raises(AlreadyExists):
        await driver.put("key", b"ours", if_absent=True)
    assert bucket.get("key") == b"theirs"
    assert len([one for one in proxy.seen if one.startswith("PUT")]) == 1


@pytest.mark.parametrize("fault", ["drop", 409, 503])
async def test_a_put_if_absent_that_did_not_get_through_is_made_again(
    driver: S3Driver, bucket: Bucket, proxy: Proxy, fault: Fault
) -> None:
    proxy.rules.append(Rule("PUT", "/key", fault, times=2))
    await driver.put("key", b"ours", if_absent=True)
    assert bucket.get("key") == b"ours"


async def test_when_the_store_stays_busy_that_is_told(driver: S3Driver, proxy: Proxy) -> None:
    for method in ("GET", "PUT", "HEAD", "DELETE", "POST"):
        proxy.rules.append(Rule(method, "", 503, times=1000))
    for call in (
        driver.get("key", limit=9),
        driver.stat("key"),
        driver.put("key", b"x"),
        driver.put("key", b"x", if_absent=True),
        driver.write("key", pieces(b"x")),
        driver.children(""),
        driver.delete(["key"]),
        driver.delete(["key", "other"]),
        driver.copy("key", "other"),
        read(driver, "key"),
    ):
        proxy.seen.clear()
        with pytest.raises(Unavailable) as caught:
            await call
        assert type(caught.value) is Unavailable, "what is internal is not told"
        assert "SlowDown" in str(caught.value) or "503" in str(caught.value)
        assert len(proxy.seen) >= 4


async def test_a_short_storm_is_waited_for(driver: S3Driver, bucket: Bucket, proxy: Proxy) -> None:
    bucket.set("a/b", b"x")
    for method in ("GET", "PUT", "HEAD", "DELETE", "POST"):
        proxy.rules += [Rule(method, "", 503, times=1), Rule(method, "", "reset", times=1)]
    assert await driver.get("a/b", limit=9) == b"x"
    assert (await driver.stat("a/b")).size_bytes == 1
    await driver.put("c", b"y")
    assert await driver.children("") == ["a", "c"]
    await driver.delete(["a/b", "c"])
    assert bucket.names() == set()


async def test_a_body_that_is_cut_off_is_asked_for_again(
    driver: S3Driver, bucket: Bucket, proxy: Proxy
) -> None:
    data = os.urandom(3 * MIB + 5)
    bucket.set("key", data)
    proxy.rules.append(Rule("GET", "/key", "truncate", times=2))
    assert await read(driver, "key") == data
    proxy.rules.append(Rule("GET", "/key", "truncate", times=2))
    assert await read(driver, "key", 1000, 2 * MIB) == data[1000 : 2 * MIB]
    proxy.rules.append(Rule("GET", "/key", "truncate"))
    assert await driver.get("key", limit=len(data)) == data


@pytest.mark.parametrize("then", [b"other", None])
async def test_the_rest_of_a_body_is_never_anothers(
    driver: S3Driver, bucket: Bucket, proxy: Proxy, then: bytes | None
) -> None:
    bucket.set("key", os.urandom(3 * MIB))
    proxy.rules.append(Rule("GET", "/key", "truncate"))
    async with driver.open("key") as opened:
        if then is None:
            await driver.delete(["key"])
        else:
            bucket.set("key", then * MIB)
        with pytest.raises(Unavailable, match="replaced or removed"):
            async for _ in opened.chunks():
                pass


@pytest.mark.parametrize("fault", ["drop", "lose", "reset", 500, 503])
@pytest.mark.parametrize("if_absent", [False, True])
async def test_an_upload_in_parts_is_completed_once(
    driver: S3Driver, bucket: Bucket, proxy: Proxy, fault: Fault, if_absent: bool
) -> None:
    data = os.urandom(2 * PART + 17)
    proxy.rules += [
        Rule("POST", "/key?uploadId", fault),
        Rule("PUT", "partNumber=2", fault),
        Rule("POST", "/key?uploads", fault),
    ]
    assert await driver.write("key", pieces(data), if_absent=if_absent) == len(data)
    assert bucket.get("key") == data
    begun = [one for one in proxy.seen if one.startswith("POST") and one.endswith("uploads")]
    left = bucket.uploads()
    assert len(left) <= len(begun) - 1, "what was begun in vain is found by the sweep, and nothing else"


async def test_an_upload_that_was_completed_is_known_by_its_mark(
    driver: S3Driver, bucket: Bucket, proxy: Proxy
) -> None:
    data = os.urandom(PART + 17)
    bucket.set("key", data)
    proxy.rules += [Rule("POST", "/key?uploadId", "lose"), Rule("POST", "/key?uploadId", 404)]
    await driver.write("key", pieces(data))
    proxy.rules[:] = [Rule("POST", "/key?uploadId", 404)]
    with pytest.raises(Unavailable, match="others have aborted it"):
        await driver.write("key", pieces(data))


async def test_what_cannot_be_sent_leaves_nothing(driver: S3Driver, bucket: Bucket, proxy: Proxy) -> None:
    proxy.rules += [Rule("PUT", "partNumber=2", "drop", times=100), Rule("DELETE", "uploadId", "drop")]
    with pytest.raises(Unavailable):
        await driver.write("key", pieces(*[os.urandom(MIB)] * 16))
    assert bucket.names() == set()


@pytest.mark.parametrize("more", [10, 0], ids=["with the next", "silent"])
async def test_whoever_leaves_in_the_middle_of_a_part_leaves_nothing(
    driver: S3Driver, bucket: Bucket, proxy: Proxy, more: int
) -> None:
    async def body() -> AsyncIterator[bytes]:
        for _ in range(6 + more):
            yield os.urandom(MIB)
        await asyncio.Event().wait()

    bucket.set("other", b"")
    proxy.rules.append(Rule("PUT", "partNumber=1", "hold"))
    task = asyncio.create_task(driver.write("key", body()))
    await asyncio.to_thread(proxy.held.wait, 30)
    task.cancel()
    for _ in range(3):
        assert await read(driver, "other") == b""
    assert not any(one.startswith("DELETE") for one in proxy.seen), "a part that comes later would stay"
    proxy.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert bucket.names() == {"other"}


async def test_whoever_leaves_while_an_upload_is_begun_leaves_nothing(
    driver: S3Driver, bucket: Bucket, proxy: Proxy
) -> None:
    proxy.rules.append(Rule("POST", "uploads", "hold"))
    task = asyncio.create_task(driver.write("key", pieces(*[os.urandom(MIB)] * 16)))
    await asyncio.to_thread(proxy.held.wait, 30)
    task.cancel()
    proxy.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert bucket.names() == set()


async def test_a_source_that_goes_while_it_is_joined_is_missing(
    driver: S3Driver, bucket: Bucket, proxy: Proxy
) -> None:
    bucket.set("a", os.urandom(PART))
    bucket.set("b", os.urandom(PART))
    gone = Rule(
        "PUT", "partNumber=2", 503, before=lambda: bucket.client.delete_object(Bucket=bucket.name, Key="b")
    )
    proxy.rules.append(gone)
    with pytest.raises(NotFound):
        await driver.compose("key", ["a", "b"], size=2 * PART)
    assert bucket.names() == {"a"}


async def test_a_slow_reader_holds_no_thread(driver: S3Driver, bucket: Bucket) -> None:
    data = os.urandom(2 * MIB)
    bucket.set("key", data)
    async with asyncio.TaskGroup() as group:
        # Three times as many as there are threads, each with half of its body read.
        met = asyncio.Barrier(6)

        async def one() -> bytes:
            found = b""
            async with driver.open("key") as opened:
                async for piece in opened.chunks():
                    if not found:
                        await met.wait()
                    found += piece
            return found

        tasks = [group.create_task(one()) for _ in range(6)]
    assert all(task.result() == data for task in tasks)


async def test_readers_that_rest_lend_their_connections(
    bucket: Bucket, proxy: Proxy, credentials: None
) -> None:
    driver = S3Driver(bucket.options(endpoint=proxy.endpoint, max_connections=2))
    await driver.start()
    data = os.urandom(6 * MIB)
    bucket.set("slow", data)
    bucket.set("quick", b"x")
    async with driver.open("slow") as first, driver.open("slow") as second, driver.open("slow", 9, 9) as none:
        slow = [first.chunks(), second.chunks()]
        found = [await anext(chunks) for chunks in slow]
        for _ in range(3):
            assert await read(driver, "quick") == b"x", "nobody is refused because of them"
        assert await read(driver, "slow") == data
        for number, chunks in enumerate(slow):
            async for piece in chunks:
                found[number] += piece
        assert found == [data, data]
        assert [piece async for piece in none.chunks()] == []
    asked = [one for one in proxy.seen if one.endswith("/slow")]
    assert 6 <= len(asked) <= 8, "who has lent theirs asks for the rest once, when they go on"
    assert driver._connections._free._value == 2
    await driver.aclose()


async def test_readers_that_do_not_rest_keep_their_connections(
    bucket: Bucket, proxy: Proxy, credentials: None
) -> None:
    driver = S3Driver(bucket.options(endpoint=proxy.endpoint, max_connections=1, connect_timeout_seconds=1.5))
    await driver.start()
    bucket.set("key", b"x")
    proxy.rules.append(Rule("GET", "/key", "hold"))
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(read(driver, "key"))
        await proxy.until_seen("GET", "/key", 1)
        with pytest.raises(Unavailable, match=r"all 1 connections.*max_connections"):
            await read(driver, "key")
        proxy.go_on.set()
    assert reading.result() == b"x"
    assert await read(driver, "key") == b"x"
    await driver.aclose()


async def test_a_range_that_is_ignored_is_no_range(driver: S3Driver, bucket: Bucket, proxy: Proxy) -> None:
    bucket.set("key", b"0123456789")
    assert await read(driver, "key", 3, 5) == b"34"
    proxy.rules.append(Rule("GET", "/key", "whole"))
    with pytest.raises(Exception, match="another range"):
        await read(driver, "key", 3, 5)


@pytest.mark.parametrize("header", ["Content-Length", "Last-Modified", "ETag"])
async def test_what_an_answer_lacks_is_told(
    driver: S3Driver, bucket: Bucket, proxy: Proxy, header: str
) -> None:
    bucket.set("key", b"bytes")
    for method in ("GET", "HEAD", "PUT"):
        proxy.rules.append(Rule(method, "/key", "strip", times=1000, headers=[header.lower()]))
    calls: list[Callable[[], Awaitable[object]]] = [lambda: read(driver, "key")]
    if header == "ETag":
        calls.append(lambda: driver.write("key", pieces(os.urandom(2 * PART))))
    else:
        calls.append(lambda: driver.stat("key"))
    if header == "Content-Length":
        calls.append(lambda: driver.get("key", limit=9))
    for call in calls:
        with pytest.raises(Unavailable, match=f"without {header}.*storage.s3.endpoint"):
            await call()
    assert not bucket.uploads()


async def test_what_an_answer_has_wrong_is_told(driver: S3Driver, bucket: Bucket, proxy: Proxy) -> None:
    bucket.set("key", b"bytes")
    odd = {"last-modified": "yesterday"}
    proxy.rules.append(Rule("HEAD", "/key", "strip", times=1000, headers=list(odd), instead=odd))
    with pytest.raises(Unavailable, match=r"cannot be read.*yesterday"):
        await driver.stat("key")


async def test_a_store_that_hangs_is_told_to_those_who_wait_for_a_thread(
    bucket: Bucket, proxy: Proxy, credentials: None
) -> None:
    driver = S3Driver(
        bucket.options(endpoint=proxy.endpoint, metadata_requests=2, connect_timeout_seconds=0.2)
    )
    await driver.start()
    bucket.set("held", b"x")
    proxy.rules.append(Rule("GET", "/held", "hold", times=2))
    async with asyncio.TaskGroup() as group:
        held = [group.create_task(driver.get("held", limit=9)) for _ in range(2)]
        await proxy.until_seen("GET", "/held", 2)
        with pytest.raises(Unavailable, match=r"all 2 requests at once.*metadata_requests.*answered none"):
            await driver.stat("held")
        assert await read(driver, "held") == b"x", "bodies have threads of their own"
        proxy.go_on.set()
    assert [task.result() for task in held] == [b"x", b"x"]
    assert (await driver.stat("held")).size_bytes == 1
    await driver.aclose()


async def test_a_crowd_is_served_however_long_it_takes(bucket: Bucket, credentials: None) -> None:
    # For longer than one request takes where others work, too.
    patience = 1.5
    driver = S3Driver(bucket.options(metadata_requests=1, connect_timeout_seconds=patience))
    await driver.start()
    bucket.set("key", b"x")
    crowd, began, ended = 50, 0.0, 0.0
    # Until the last have waited for longer than anybody waits behind a hung store.
    while ended - began < 2 * patience:
        crowd *= 2
        began = monotonic()
        assert await asyncio.gather(*[driver.get("key", limit=9) for _ in range(crowd)]) == [b"x"] * crowd
        ended = monotonic()
    await driver.aclose()
