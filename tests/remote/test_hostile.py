"""What another registry may answer to do harm: it is an error with its cause, and soon, whatever it is."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest

from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.remote import pages
from registry.remote.egress import Egress
from registry.remote.errors import UpstreamError
from registry.remote.upstream import Endpoint, Upstream
from tests.remote.hosts import Script, answer, redirect, serving

NAME = RepositoryName("team/app")
TAG = Tag("1")
DIGEST = Digest.of(b"blob")
MANIFEST = f"/v2/{NAME}/manifests/{TAG}"
BLOB = f"/v2/{NAME}/blobs/{DIGEST}"
TAGS = f"/v2/{NAME}/tags/list"
TOKEN = b'WWW-Authenticate: Bearer realm="http://127.0.0.1:PORT/token"'


@asynccontextmanager
async def asking(routes: Mapping[str, bytes | Script], stall_seconds: float = 5.0) -> AsyncIterator[Upstream]:
    """An upstream that answers so; PORT stands for its port."""
    async with serving(routes) as host, Egress([ipaddress.ip_network("127.0.0.0/8")]).client() as client:
        for path, sent in host.routes.items():
            if isinstance(sent, bytes):
                host.routes[path] = sent.replace(b"PORT", str(host.port).encode())
        url = f"http://127.0.0.1:{host.port}"
        yield Upstream(client, Endpoint(url), clock=time.monotonic, stall_seconds=stall_seconds)


def head(status: str, *lines: bytes) -> bytes:
    """An answer without a body, its lines as they stand."""
    return b"\r\n".join([f"HTTP/1.1 {status}".encode(), b"Content-Length: 0", *lines, b"", b""])


@pytest.mark.parametrize(
    ("routes", "cause"),
    [
        ({MANIFEST: redirect("http://[x")}, "lying"),
        ({MANIFEST: head("302 Found", b"Location: http://\xff\xfe/")}, "lying"),
        ({MANIFEST: head("401 No", TOKEN.replace(b"127.0.0.1:PORT", b"["))}, "lying"),
        (
            {MANIFEST: head("401 No", TOKEN + b',service="\xff"'), "/token": answer(b'{"token":"a"}')},
            "refusing",
        ),
        (
            {
                MANIFEST: head("401 No", TOKEN),
                "/token": answer(b'{"token":"a","expires_in":1' + b"0" * 400 + b"}"),
            },
            "refusing",
        ),
        ({MANIFEST: head("200 OK", b"Content-Type: a\xff/b")}, "lying"),
        ({MANIFEST: head("200 OK", b"Docker-Content-Digest: \xff")}, "lying"),
    ],
    ids=["location", "location bytes", "realm", "service bytes", "expires in", "type bytes", "digest bytes"],
)
async def test_what_it_says_beside_a_manifest(routes: Mapping[str, bytes], cause: str) -> None:
    async with asking(routes) as upstream:
        with pytest.raises(UpstreamError) as raised:
            await upstream.manifest(NAME, TAG)
        assert raised.value.cause == cause


async def trickle(writer: asyncio.StreamWriter) -> None:
    """A long body, a few bytes now and then."""
    writer.write(answer(length=1_000_000))
    while True:
        writer.write(b"xx")
        await writer.drain()
        await asyncio.sleep(0.01)


class TestTrickles:
    async def test_a_document_is_not_waited_for(self) -> None:
        async with asking({MANIFEST: trickle}, 0.1) as upstream:
            with pytest.raises(UpstreamError, match=r"bytes in 0\.4 s, and there are more") as raised:
                await upstream.manifest(NAME, TAG)
            assert raised.value.cause == "slow"

    async def test_a_blob_comes_at_a_kibibyte_a_second_or_not_at_all(self) -> None:
        async with asking({BLOB: trickle}, 0.1) as upstream, upstream.blob(NAME, DIGEST) as blob:
            with pytest.raises(UpstreamError, match=r"it sent \d+ bytes in 0\.4 s") as raised:
                async for _ in blob.chunks():
                    pass
            assert raised.value.cause == "slow"

    async def test_the_time_that_a_reader_takes_does_not_count(self) -> None:
        content = b"x" * 100

        async def pieces(writer: asyncio.StreamWriter) -> None:
            writer.write(answer(content, length=2 * len(content)))
            await writer.drain()
            await read.wait()
            writer.write(content)
            await writer.drain()

        read = asyncio.Event()
        async with asking({BLOB: pieces}, 0.1) as upstream, upstream.blob(NAME, DIGEST) as blob:
            chunks = blob.chunks()
            assert await anext(chunks) == content
            # The reader's, and longer than all in which so little may come.
            await asyncio.sleep(0.5)
            read.set()
            assert await anext(chunks) == content

    async def test_a_list_that_goes_on_and_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pages, "_LIST_SECONDS", 0.2)
        count = 0

        async def another(writer: asyncio.StreamWriter) -> None:
            nonlocal count
            count += 1
            await asyncio.sleep(0.05)
            writer.write(answer(b'{"tags":["a"]}', Link=f'<{TAGS}?n=1&last={count}>; rel="next"'))
            await writer.drain()

        async with asking({TAGS: another}) as upstream:
            with pytest.raises(UpstreamError, match=r"its list was not whole within 0\.2 s") as raised:
                await upstream.tags(NAME)
            assert raised.value.cause == "slow" and count < 20
