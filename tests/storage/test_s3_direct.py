"""How a bucket is asked on the event loop: what goes out, what is between, what is read of answers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from botocore.credentials import Credentials
from multidict import CIMultiDict

from storage.errors import Forbidden, NotFound, StorageError, Unavailable
from storage.s3.answers import Answer, error_of, page_of
from storage.s3.credentials import Access, Keys, make_access
from storage.s3.driver import S3Driver
from storage.s3.options import S3Options
from storage.s3.signing import Signer
from tests.certificates import self_signed
from tests.storage.buckets import ACCESS_KEY, SECRET_KEY, Bucket
from tests.storage.misbehaving import Proxy, Rule, proxy_of
from tests.storage.probing import MIB, pieces, read

# A store that speaks HTTP, though in this process.
pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("credentials")]


@asynccontextmanager
async def started(options: S3Options) -> AsyncIterator[S3Driver]:
    """A driver, as a server has it."""
    driver = S3Driver(options)
    await driver.start()
    try:
        yield driver
    finally:
        await driver.aclose()


async def test_whoever_leaves_in_the_middle_of_a_put_waits_for_its_end(bucket: Bucket, proxy: Proxy) -> None:
    """What the store carries out later could undo what is done then."""
    async with started(bucket.options(endpoint=proxy.endpoint)) as driver:
        for method, call in (("PUT", driver.put("key", b"x")), ("DELETE", driver.delete(["key"]))):
            proxy.held.clear()
            proxy.go_on.clear()
            proxy.rules.append(Rule(method, "/key", "hold"))
            task = asyncio.create_task(call)
            await asyncio.to_thread(proxy.held.wait, 30)
            for _ in range(2):
                task.cancel()
                assert await driver.children("") == ([] if method == "PUT" else ["key"])
                assert not task.done()
            proxy.go_on.set()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert bucket.names() == ({"key"} if method == "PUT" else set())


async def test_a_put_that_has_no_turn_yet_is_never_sent_when_its_caller_leaves(
    bucket: Bucket, proxy: Proxy
) -> None:
    async with started(bucket.options(endpoint=proxy.endpoint, metadata_requests=1)) as driver:
        proxy.rules.append(Rule("GET", "/held", "hold"))
        held = asyncio.create_task(driver.get("held", limit=9))
        await asyncio.to_thread(proxy.held.wait, 30)
        waiting = asyncio.create_task(driver.put("key", b"x"))
        await asyncio.wait([waiting], timeout=0.05)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        proxy.go_on.set()
        with pytest.raises(NotFound):
            await held
        assert await driver.children("") == []
    assert not any(one.startswith("PUT") for one in proxy.seen)


async def test_whoever_leaves_a_read_leaves_at_once(bucket: Bucket, proxy: Proxy) -> None:
    bucket.set("key", b"x")
    async with started(bucket.options(endpoint=proxy.endpoint, metadata_requests=1)) as driver:
        proxy.rules.append(Rule("GET", "/key", "hold"))
        task = asyncio.create_task(driver.get("key", limit=9))
        await asyncio.to_thread(proxy.held.wait, 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await driver.children("") == ["key"], "its turn is another's"
        proxy.go_on.set()


@pytest.mark.parametrize("count", [0, 9, MIB + 5])
async def test_checksums_go_with_what_is_put_and_are_compared(
    bucket: Bucket, proxy: Proxy, count: int
) -> None:
    data = os.urandom(count)
    async with started(bucket.options(endpoint=proxy.endpoint, checksums="when_supported")) as driver:
        await driver.put("put", data)
        await driver.write("written", pieces(data))
        for key in ("put", "written"):
            head = bucket.client.head_object(Bucket=bucket.name, Key=key, ChecksumMode="ENABLED")
            assert head["ChecksumCRC32"]
            assert await driver.get(key, limit=count) == data
            assert await read(driver, key) == data
            other = {"x-amz-checksum-crc32": "AAAAAQ=="}
            proxy.rules.append(Rule("GET", f"/{key}", "strip", 2, headers=list(other), instead=other))
            with pytest.raises(Unavailable, match="has the checksum"):
                await driver.get(key, limit=count)
            if count:
                with pytest.raises(Unavailable, match="has the checksum"):
                    await read(driver, key)


async def test_without_being_asked_for_there_are_none(bucket: Bucket) -> None:
    async with started(bucket.options()) as driver:
        await driver.put("key", b"x")
        head = bucket.client.head_object(Bucket=bucket.name, Key="key", ChecksumMode="ENABLED")
        assert "ChecksumCRC32" not in head


@pytest.mark.parametrize("form", ["http://{}", "{}", "http://someone:{password}@{}"])
async def test_the_proxy_of_the_environment_is_used(
    bucket: Bucket, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    password = uuid4().hex
    monkeypatch.setenv("HTTP_PROXY", form.format(urlsplit(proxy.endpoint).netloc, password=password))
    monkeypatch.setenv("NO_PROXY", "nothing")
    async with started(bucket.options(endpoint="http://store.invalid:8000")) as driver:
        await driver.put("a/key", b"x")
        assert await driver.get("a/key", limit=1) == b"x"
        assert await read(driver, "a/key") == b"x"
        proxy.rules.append(Rule("GET", "/a/key", "drop", times=100))
        with pytest.raises(Unavailable) as caught:
            await driver.get("a/key", limit=1)
    assert password not in str(caught.value)
    assert {urlsplit(one.partition(" ")[2]).netloc for one in proxy.seen} == {"store.invalid:8000"}
    told = f"Basic {b64encode(f'someone:{password}'.encode()).decode()}" if "password" in form else None
    assert set(proxy.proxied) == {told}


async def test_a_certificate_is_believed_by_its_authority_alone(bucket: Bucket, tmp_path: Path) -> None:
    authority = self_signed("authority")
    for name, pair in (("this", authority), ("other", self_signed("other"))):
        (tmp_path / name).write_bytes(pair.pem)
    files = authority.issue("store", hosts=("127.0.0.1",)).write(tmp_path)
    trust = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trust.load_cert_chain(files["certificate"], files["key"])
    with proxy_of(bucket.client.meta.endpoint_url, trust) as encrypted:
        assert encrypted.endpoint.startswith("https://")
        async with started(bucket.options(endpoint=encrypted.endpoint, ca_file=tmp_path / "this")) as driver:
            data = os.urandom(3 * MIB)
            await driver.write("key", pieces(data))
            assert await read(driver, "key") == data
        async with started(bucket.options(endpoint=encrypted.endpoint, ca_file=tmp_path / "other")) as driver:
            with pytest.raises(Unavailable, match=r"certificate is not believed.*storage.s3.ca_file"):
                await driver.stat("key")


@pytest.mark.parametrize(("method", "word"), [("GET", "list-type"), ("POST", "delete")])
async def test_an_error_behind_a_status_of_success_is_one(
    bucket: Bucket, proxy: Proxy, method: str, word: str
) -> None:
    """An empty listing would be a store in which nothing is linked."""
    bucket.set("a/b", b"x")
    bucket.set("c", b"x")
    async with started(bucket.options(endpoint=proxy.endpoint)) as driver:

        async def walked() -> list[str]:
            return [key async for key in driver.walk("")]

        call = walked if method == "GET" else lambda: driver.delete(["a/b", "c"])
        proxy.rules.append(Rule(method, word, "late", times=100))
        with pytest.raises(Unavailable, match="InternalError"):
            await call()
        proxy.rules.clear()
        proxy.rules.append(Rule(method, word, "late"))
        assert await call() == (["a/b", "c"] if method == "GET" else None)


async def test_a_copy_that_fails_behind_its_status_is_made_again(bucket: Bucket, proxy: Proxy) -> None:
    """S3 begins to answer a copy before it has made it."""
    bucket.set("a/source", b"x")
    async with started(bucket.options(endpoint=proxy.endpoint)) as driver:
        proxy.rules.append(Rule("PUT", "/copied", "late"))
        await driver.copy("copied", "a/source")
        assert bucket.get("copied") == b"x"
        proxy.rules.append(Rule("PUT", "/other", "late", times=100))
        with pytest.raises(Unavailable, match="InternalError"):
            await driver.copy("other", "a/source")
        assert bucket.get("other") is None


async def test_a_store_that_cannot_be_reached_is_told(bucket: Bucket) -> None:
    with proxy_of(bucket.client.meta.endpoint_url) as gone:
        options = bucket.options(endpoint=gone.endpoint, attempts=1)
    async with started(options) as driver:
        with pytest.raises(Unavailable, match=r"cannot be reached.*storage.s3.endpoint"):
            await driver.stat("key")
        with pytest.raises(Unavailable, match=r"cannot be reached.*storage.s3.endpoint"):
            await read(driver, "key")


async def test_who_reads_when_all_ends_is_told(bucket: Bucket, proxy: Proxy) -> None:
    bucket.set("key", os.urandom(9 * MIB))
    async with started(bucket.options(endpoint=proxy.endpoint)) as driver, driver.open("key") as opened:
        chunks = opened.chunks()
        await anext(chunks)
        await driver.aclose()
        with pytest.raises(Unavailable, match="not in use any more"):
            async for _ in chunks:
                """What has come."""


async def test_many_who_begin_at_once_share_from_the_start(bucket: Bucket) -> None:
    bucket.set("key", os.urandom(MIB))
    async with started(bucket.options()) as driver, AsyncExitStack() as stack:
        await asyncio.gather(*(stack.enter_async_context(driver.open("key")) for _ in range(64)))
        assert driver._reading.bytes == (16 * MIB) // 64
        await stack.aclose()
        assert driver._reading.bytes == MIB


@pytest.mark.parametrize("status", [200, 500])
async def test_an_answer_that_never_ends_is_not_waited_for_for_ever(status: int) -> None:
    over = asyncio.Event()
    connections: list[asyncio.Task[Any] | None] = []

    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(asyncio.current_task())
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 %d X\r\nContent-Length: 900\r\n\r\n" % status)
        while not over.is_set():
            writer.write(b"x")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), 0.05)
        writer.close()

    async with await asyncio.start_server(trickle, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        options = S3Options(
            *("bucket", "", "us-east-1", f"http://{host}:{port}"),
            attempts=1,
            connect_timeout_seconds=0.5,
            read_timeout_seconds=0.5,
        )
        async with started(options) as driver:
            for call in (driver.get("key", limit=1000), driver.put("key", b"x")):
                with pytest.raises(Unavailable, match="did not answer in time"):
                    await call
        over.set()
        await asyncio.gather(*filter(None, connections))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"bucket": "bad bucket"}, "bad bucket at .* cannot be used"),
        ({"endpoint": "https://store.invalid", "ca_file": Path(__file__)}, "authorities in .*test_s3_direct"),
    ],
)
async def test_settings_that_cannot_be_used_are_told_at_start(
    bucket: Bucket, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(Unavailable, match=words):
        await S3Driver(bucket.options(**settings)).start()


@pytest.mark.parametrize(
    "endpoint",
    ["http://LocalHost:80", "http://localhost.:8000", "http://[::1]:9000", "https://A.example:443"],
)
async def test_the_host_that_is_signed_is_the_one_that_is_sent(endpoint: str) -> None:
    options = S3Options("bucket", endpoint=endpoint, region="us-east-1", path_style=True)
    url, headers = await Signer(make_access(options), options).signed("GET", "key", {}, {}, None)
    assert headers["Host"] == url.host_port_subcomponent
    assert "host;" in headers["Authorization"]


async def test_a_crowd_asks_for_keys_once_and_what_are_none_are_told() -> None:
    asked: list[object] = []

    class Session:
        def get_credentials(self) -> Credentials:
            asked.append(self)
            if len(asked) > 1:
                raise ValueError("no JSON")
            return Credentials(ACCESS_KEY, SECRET_KEY)

    def keys() -> Keys:
        return Keys(Access(None, cast(Any, Session())))

    crowd = keys()
    found = await asyncio.gather(*(crowd.current() for _ in range(40)))
    assert {one.access_key for one in found} == {ACCESS_KEY}
    assert len(asked) == 1
    with pytest.raises(Unavailable, match="credentials for the store cannot be read: no JSON"):
        await keys().current()


async def test_what_head_is_refused_without_a_reason_is_no_error_of_ours(
    bucket: Bucket, proxy: Proxy
) -> None:
    async with started(bucket.options(endpoint=proxy.endpoint)) as driver:
        proxy.rules.append(Rule("HEAD", "/key", "expired"))
        with pytest.raises(Unavailable, match=r"without a reason.*storage\.s3\.region.*secret_key_file"):
            await driver.stat("key")


@pytest.mark.parametrize("count", [1, 9 * MIB])
async def test_a_store_that_takes_nothing_is_not_waited_for_for_ever(count: int) -> None:
    """Neither by who has sent all, nor by who cannot go on sending."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        options = S3Options(
            *("bucket", "", "us-east-1", f"http://127.0.0.1:{listener.getsockname()[1]}"),
            attempts=1,
            connect_timeout_seconds=0.5,
            read_timeout_seconds=0.5,
        )
        async with started(options) as driver:
            with pytest.raises(Unavailable, match=r"did not answer in time.*read_timeout_seconds"):
                await driver.put("key", bytes(count))


ERRORS = {
    "<Error><Code>NoSuchKey</Code><Message>x</Message></Error>": (404, NotFound, ""),
    '<?xml version="1.0"?><Error xmlns="u:x"><Code>AccessDenied</Code></Error>': (403, Forbidden, "refused"),
    "": (404, NotFound, ""),
    "<html><body>Bad Gateway": (502, Unavailable, "502 Bad Gateway"),
    '<?xml version="1.0" encoding="Shift_JIS"?><html/>': (502, Unavailable, "502 Bad Gateway"),
    "{}": (599, Unavailable, "status 599"),
    "<Error><Code>PermanentRedirect</Code></Error>": (301, Unavailable, r"region eu-1.*storage\.s3\.region"),
    "<Error><Code>AuthorizationHeaderMalformed</Code></Error>": (
        *(400, Unavailable),
        r"region eu-1.*storage\.s3\.region",
    ),
    "<Error><Code>InvalidRequest</Code></Error>": (400, StorageError, "cannot do what was asked"),
}


@pytest.mark.parametrize("body", ERRORS)
def test_what_errors_mean(body: str) -> None:
    status, kind, words = ERRORS[body]
    headers = CIMultiDict({"X-Amz-Bucket-Region": "eu-1"})
    error = error_of(Answer("key", status, headers, body.encode()), "bucket")
    assert isinstance(error, kind)
    assert re.search(words, error.message)


@pytest.mark.parametrize("space", ["", ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'])
def test_what_a_listing_says(space: str) -> None:
    body = f"""<?xml version="1.0"?><ListBucketResult{space}><EncodingType>url</EncodingType>
        <IsTruncated>true</IsTruncated><NextContinuationToken>a+b=</NextContinuationToken>
        <Contents><Key>a%2Fb%0A</Key><LastModified>2026-11-28T00:00:00.000Z</LastModified></Contents>
        <CommonPrefixes><Prefix>a/</Prefix></CommonPrefixes></ListBucketResult>"""
    page = page_of(Answer("", 200, {}, body.encode()), "bucket")
    assert [(one.name, one.modified_at.isoformat()) for one in page.objects] == [
        ("a/b\n", "2026-11-28T00:00:00+00:00")
    ]
    assert (page.prefixes, page.token, page.truncated) == (["a/"], "a+b=", True)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "<Listing>",
        "<html/>",
        "<ListBucketResult/>",
        "<a><Contents/></a>",
        "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&d;</a>",
    ],
)
def test_a_listing_that_is_none_is_told(body: str) -> None:
    with pytest.raises(Unavailable, match=r"cannot be read.*storage.s3.endpoint"):
        page_of(Answer("", 200, {}, body.encode()), "bucket")
