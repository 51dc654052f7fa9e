"""Answers that are read as they come: what is sent along, who is waited for, and for how long."""

from __future__ import annotations

import asyncio
import gzip
import ipaddress
import traceback
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType

import pytest

from registry.remote.client import Client
from registry.remote.egress import Egress
from registry.remote.errors import Cause, RemoteError
from registry.remote.response import Response
from tests.remote.hosts import Host, Reply, Script, answer, redirect, serving

HERE = [ipaddress.ip_network("127.0.0.0/8")]
SECRET = "Bearer canary-1f2e3d"
NONE: Mapping[str, str] = MappingProxyType({})


@asynccontextmanager
async def asking(
    url: str,
    method: str = "GET",
    *,
    headers: Mapping[str, str] = NONE,
    body: bytes | None = None,
    head_seconds: float = 10,
    stall_seconds: float = 10,
    authorization: str | None = None,
    elsewhere: bool = False,
) -> AsyncIterator[Response]:
    async with (
        Egress(HERE).client() as client,
        client.request(
            method,
            url,
            headers=headers,
            body=body,
            head_seconds=head_seconds,
            stall_seconds=stall_seconds,
            authorization=authorization,
            elsewhere=elsewhere,
        ) as response,
    ):
        yield response


async def refused(url: str, **more: object) -> RemoteError:
    """Why it could not be had, head and body."""
    with pytest.raises(RemoteError) as raised:
        async with asking(url, **more) as response:  # type: ignore[arg-type]
            await response.read(1 << 20)
    return raised.value


def writing(*pieces: bytes) -> Script:
    """Sends the pieces and breaks off."""

    async def script(writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()

    return script


def waiting(*pieces: bytes) -> Script:
    """Sends the pieces and then nothing more."""

    async def script(writer: asyncio.StreamWriter) -> None:
        await writing(*pieces)(writer)
        await asyncio.Event().wait()

    return script


class TestHeads:
    async def test_any_status_is_an_answer(self) -> None:
        for status in ("200 OK", "206 Partial", "401 Unauthorized", "404 Not Found", "500 Oh"):
            async with (
                serving({"/": answer(b"words", status=status, X_Thing="1")}) as host,
                asking(host.url()) as response,
            ):
                assert response.status == int(status[:3])
                assert (response.url, response.host) == (host.url(), f"127.0.0.1:{host.port}")
                assert response.headers["x-thing"] == "1"
                assert await response.read(5) == b"words"

    async def test_several_lines_of_one_name_are_one(self) -> None:
        sent = answer(Link="<a>").replace(b"\r\n\r\n", b"\r\nLINK: <b>\r\n\r\n")
        async with serving({"/": sent}) as host, asking(host.url()) as response:
            assert response.headers["link"] == "<a>, <b>"

    async def test_of_a_head_alone_there_is_no_body(self) -> None:
        async with serving({"/": b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n"}) as host:
            async with asking(host.url(), "HEAD") as response:
                assert response.headers["content-length"] == "1234"
                assert await response.read(1) == b""
            assert host.requests[0].startswith("HEAD / HTTP/1.1\r\n")


class TestWhatIsSent:
    async def test_headers_go_along_to_wherever_it_is(self) -> None:
        async with serving({"/": answer(b"x")}) as there, serving({"/": redirect(there.url())}) as here:
            async with asking(
                here.url(), headers={"Range": "bytes=1-"}, elsewhere=True, authorization=SECRET
            ):
                pass
            assert all("Range: bytes=1-" in host.requests[0] for host in (here, there))
            assert SECRET in here.requests[0] and SECRET not in there.requests[0]

    @pytest.mark.parametrize(
        ("method", "status", "then"),
        [
            ("POST", "307 T", "POST"),
            ("PUT", "308 P", "PUT"),
            ("POST", "303 S", "GET"),
            ("PUT", "303 S", "GET"),
            ("POST", "302 F", "GET"),
            ("POST", "301 M", "GET"),
            ("PUT", "302 F", "PUT"),
        ],
    )
    async def test_a_body_goes_to_where_its_method_goes(self, method: str, status: str, then: str) -> None:
        bodies: list[bytes] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = next(
                (line[16:] for line in head.split("\r\n") if line.startswith("Content-Length: ")), "0"
            )
            bodies.append(f"{head.split(' ')[0]} ".encode() + await reader.readexactly(int(length)))
            closing = redirect("/b", status) if len(bodies) == 1 else answer(b"x")
            writer.write(closing.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            await writer.drain()
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            async with asking(url, method, body=b"hello") as response:
                assert await response.read(9) == b"x"
        assert bodies == [f"{method} hello".encode(), f"{then} {'' if then == 'GET' else 'hello'}".encode()]

    async def test_a_head_stays_one(self) -> None:
        async with serving({"/": redirect("/b", "303 S"), "/b": answer()}) as host:
            async with asking(host.url(), "HEAD"):
                pass
            assert host.requests[1].startswith("HEAD /b")

    async def test_a_body_never_goes_to_another_host(self) -> None:
        async with serving({}) as there, serving({"/": redirect(there.url(), "307 T")}) as here:
            error = await refused(here.url(), method="POST", body=b"hello", elsewhere=True)
            assert "it redirects to another host" in error.reason
            assert there.requests == []


class TestBodies:
    async def test_they_come_as_they_come(self) -> None:
        """Whoever reads is given what is there, although the rest is not."""
        more = asyncio.Event()

        async def script(writer: asyncio.StreamWriter) -> None:
            writer.write(answer(b"first", length=11))
            await writer.drain()
            await more.wait()
            writer.write(b"second")
            await writer.drain()

        async with serving({"/": script}) as host, asking(host.url()) as response:
            got = []
            async for piece in response.chunks():
                got.append(piece)
                more.set()
            assert got == [b"first", b"second"]

    async def test_who_reads_to_the_end_keeps_the_connection(self) -> None:
        async with serving({"/": answer(b"x" * 100_000)}) as host, Egress(HERE).client() as client:
            for _ in range(3):
                assert len(await whole(client, host)) == 100_000
            assert host.connections == 1

    async def test_who_leaves_before_the_end_closes_it(self) -> None:
        left = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(answer(b"x", length=9))
            while await reader.read(9999):
                pass
            left.set()
            writer.close()

        async with (
            await asyncio.start_server(serve, "127.0.0.1", 0) as server,
            Egress(HERE).client() as client,
        ):
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            async with client.request("GET", url, head_seconds=9, stall_seconds=9):
                pass
            await asyncio.wait_for(left.wait(), 9)

    async def test_no_more_is_read_than_was_asked_for(self) -> None:
        async with serving({"/": answer(b"x" * 1001)}) as host, asking(host.url()) as response:
            with pytest.raises(RemoteError, match="it answered with more than 1000 bytes") as raised:
                await response.read(1000)
            assert raised.value.cause == "lying"

    async def test_what_is_compressed_is_refused(self) -> None:
        for status in ("200 OK", "206 P"):
            sent = answer(gzip.compress(b"hi"), status=status, Content_Encoding="gzip")
            async with serving({"/": sent}) as host:
                error = await refused(host.url())
                assert (error.reason[:13], error.cause) == ("it compressed", "lying")

    async def test_an_error_may_be_compressed(self) -> None:
        sent = answer(gzip.compress(b"hi"), status="404 Not Found", Content_Encoding="gzip")
        async with serving({"/": sent}) as host, asking(host.url()) as response:
            assert response.status == 404


async def whole(client: Client, host: Host) -> bytes:
    async with client.request("GET", host.url(), head_seconds=9, stall_seconds=9) as response:
        return await response.read(1 << 20)


class TestTime:
    async def test_a_head_is_waited_for_so_long_with_all_redirects(self) -> None:
        async def slow(writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(0.2)
            writer.write(redirect("/"))
            await writer.drain()

        async with serving({"/": slow}) as host:
            error = await refused(host.url(), head_seconds=0.5)
            assert (error.reason, error.cause) == ("it did not answer within 0.5 s", "slow")

    async def test_a_body_is_waited_for_so_long_each_time(self) -> None:
        async def trickle(writer: asyncio.StreamWriter) -> None:
            writer.write(answer(length=20))
            for _ in range(20):
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.05)

        async with (
            serving({"/": trickle}) as host,
            asking(host.url(), head_seconds=0.5, stall_seconds=0.9) as response,
        ):
            assert await response.read(20) == b"x" * 20

    async def test_one_that_stops_in_the_middle_is_not_waited_for(self) -> None:
        async with serving({"/": waiting(answer(b"half", length=9))}) as host:
            error = await refused(host.url(), stall_seconds=0.1)
            assert (error.reason, error.cause) == ("it sent nothing for 0.1 s", "slow")


class TestCauses:
    @pytest.mark.parametrize(
        ("sent", "cause"),
        [
            (writing(), "unreachable"),
            (writing(answer(b"half", length=9)), "unreachable"),
            (writing(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe"), "unreachable"),
            (writing(b"SSH-2.0-OpenSSH_9.2\r\n"), "failing"),
            (writing(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"), "failing"),
            (writing(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), "failing"),
            (redirect("/"), "lying"),
            (redirect("http://127.0.0.1:1/"), "lying"),
            (redirect("gopher://127.0.0.1/"), "lying"),
        ],
        ids=["nothing", "half", "half a chunk", "ssh", "negative", "no chunk", "loop", "elsewhere", "gopher"],
    )
    async def test_what_is_wrong_with_an_answer(self, sent: bytes | Script, cause: Cause) -> None:
        async with serving({"/": sent}) as host:
            error = await refused(host.url("/?signature=canary"))
            assert error.cause == cause and error.host == f"127.0.0.1:{host.port}"
            # As it would stand in the log, whatever the library has said.
            assert "canary" not in "".join(traceback.format_exception(error))

    async def test_what_cannot_be_asked(self) -> None:
        async with serving({}) as host:
            url = host.url()
        assert (await refused(url)).cause == "unreachable"
        assert (await refused("http://169.254.169.254/")).cause == "barred"
        assert (await refused("http://")).cause == "unreachable"

    async def test_what_a_status_means(self) -> None:
        async with Egress(HERE).client() as client:
            for status, cause in [(401, "refusing"), (403, "refusing"), (404, "absent"), (429, "limited")]:
                async with serving({"/": answer(status=f"{status} X")}) as host:
                    with pytest.raises(RemoteError) as raised:
                        await client.get(host.url(), limit_bytes=9, timeout_seconds=9)
                    assert (raised.value.cause, raised.value.status) == (cause, status)
            async with serving({"/": Reply(lambda _: answer(status="502 X"))}) as host:
                with pytest.raises(RemoteError) as raised:
                    await client.get(host.url(), limit_bytes=9, timeout_seconds=9)
                assert raised.value.cause == "failing"
