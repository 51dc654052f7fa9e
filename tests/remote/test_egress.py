"""What the outbound client does with hosts that redirect, lie, stall, flood, or move to other addresses."""

from __future__ import annotations

import asyncio
import gzip
import ipaddress
import ssl
from collections.abc import Mapping
from pathlib import Path

import pytest

from registry.remote.client import Answer
from registry.remote.egress import CertificatesUnusable, Egress, trust
from registry.remote.errors import RemoteError
from tests.certificates import Pair, self_signed
from tests.remote.hosts import Names, Routes, answer, json_answer, redirect, serving

HERE = [ipaddress.ip_network("127.0.0.1/32")]
SECRET = "Bearer canary-1f2e3d"


async def get(
    url: str,
    *,
    allow: list[ipaddress.IPv4Network | ipaddress.IPv6Network] | None = None,
    names: Mapping[str, list[list[str]]] | None = None,
    ca_file: Path | None = None,
    seconds: float = 10,
    authorization: str | None = None,
    elsewhere: bool = False,
) -> Answer:
    resolver = None if names is None else Names(names)
    egress = Egress(HERE if allow is None else allow, None if resolver is None else lambda: resolver)
    async with egress.client(ca_file) as client:
        return await client.get(
            url,
            limit_bytes=1000,
            timeout_seconds=seconds,
            authorization=authorization,
            elsewhere=elsewhere,
        )


async def refused(url: str, **more: object) -> str:
    """Why it could not be had."""
    with pytest.raises(RemoteError) as raised:
        await get(url, **more)  # type: ignore[arg-type]
    return str(raised.value)


def tls(pair: Pair, folder: Path) -> ssl.SSLContext:
    files = pair.write(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files["certificate"], files["key"])
    return context


class TestAnswers:
    async def test_what_lies_there_is_had_as_it_is(self) -> None:
        async with serving({"/a": answer(b"hello", X_Thing="1")}) as host:
            got = await get(host.url("/a?q=1"))
            assert (got.body, got.headers["x-thing"]) == (b"hello", "1")
            assert host.requests[0].startswith("GET /a?q=1 HTTP/1.1\r\n")
            assert "user-agent: moorage/" in host.requests[0].lower()
            assert "accept-encoding: identity" in host.requests[0].lower()

    async def test_the_environment_names_no_proxy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:1")
        async with serving({"/": answer(b"hello")}) as host:
            assert (await get(host.url())).body == b"hello"

    async def test_no_cookie_is_kept(self) -> None:
        async with serving({"/": redirect("/b"), "/b": answer(b"x")}) as host:
            host.routes["/"] = redirect("/b").replace(b"\r\n\r\n", b"\r\nSet-Cookie: a=b\r\n\r\n")
            await get(host.url())
            assert len(host.requests) == 2 and "ookie" not in host.requests[1]

    @pytest.mark.parametrize("status", ["206 Partial", "401 Unauthorized", "404 Not Found", "500 Oh"])
    async def test_any_other_status_is_told(self, status: str) -> None:
        async with serving({"/": answer(b"secret words", status=status)}) as host:
            with pytest.raises(RemoteError) as raised:
                await get(host.url("/?token=canary"))
            assert str(raised.value) == f"127.0.0.1:{host.port}: it answered {status[:3]}"
            assert raised.value.status == int(status[:3])


class TestBadAnswers:
    @pytest.mark.parametrize(
        ("sent", "reason"),
        [
            (answer(b"x" * 1001), "it answered with more than 1000 bytes"),
            (answer(gzip.compress(b"hi"), Content_Encoding="gzip"), "it compressed its answer"),
            (answer(b"half", length=9), "the connection broke"),
            (b"", "the connection broke"),
            (b"SSH-2.0-OpenSSH_9.2\r\n", "what it answered is not HTTP"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "what it answered is not HTTP"),
            (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", "what it answered is not HTTP"),
            (b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 10_000 + b"\r\n", "what it answered is not HTTP"),
        ],
        ids=["huge", "compressed", "half", "nothing", "ssh", "negative", "long header", "many headers"],
    )
    async def test_it_is_refused_with_a_reason(self, sent: bytes, reason: str) -> None:
        async def script(writer: asyncio.StreamWriter) -> None:
            writer.write(sent)
            await writer.drain()

        async with serving({"/": script}) as host:
            told = await refused(host.url("/?token=canary"))
            assert told.startswith(f"127.0.0.1:{host.port}: {reason}")
            assert "canary" not in told

    async def test_a_body_without_end_is_read_no_further_than_the_limit(self) -> None:
        sent = 0

        async def script(writer: asyncio.StreamWriter) -> None:
            nonlocal sent
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                writer.write(b"1000\r\n" + b"x" * 4096 + b"\r\n")
                sent += 4096
                await writer.drain()

        async with serving({"/": script}) as host:
            assert "more than 1000 bytes" in await refused(host.url())
        assert sent < 64 << 20

    @pytest.mark.parametrize("what", ["head", "body"])
    async def test_one_that_trickles_is_not_waited_for(self, what: str) -> None:
        async def script(writer: asyncio.StreamWriter) -> None:
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n" + (b"\r\n" if what == "body" else b"X-")
            )
            while True:
                writer.write(b"H")
                await writer.drain()
                await asyncio.sleep(0.02)

        async with serving({"/": script}) as host:
            told = await refused(host.url(), seconds=0.3)
            assert told == f"127.0.0.1:{host.port}: it did not answer within 0.3 s"

    async def test_all_redirects_together_have_the_time_of_one_request(self) -> None:
        async def slow(writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(0.2)
            writer.write(redirect("/"))
            await writer.drain()

        async with serving({"/": slow}) as host:
            assert "did not answer within 0.5 s" in await refused(host.url(), seconds=0.5)

    async def test_nobody_there(self) -> None:
        async with serving({}) as host:
            url = host.url()
        assert "cannot connect: " in await refused(url)

    async def test_a_name_that_nobody_has(self) -> None:
        told = await refused("http://registry.test:81/x?token=canary", names={})
        assert told == "registry.test:81: its name is not known"


class TestAddresses:
    @pytest.mark.parametrize(
        "url", ["http://127.0.0.1:{}/", "http://[::1]:{}/", "http://[::ffff:127.0.0.1]:{}/"]
    )
    async def test_this_machine_is_not_asked_unless_it_is_listed(self, url: str) -> None:
        async with serving({"/": answer(b"x")}) as host:
            told = await refused(url.format(host.port), allow=[])
            assert "is not connected to (it is this machine itself; see egress.allow)" in told
            assert host.requests == []

    @pytest.mark.parametrize("name", ["2130706433", "0x7f000001", "127.1", "localhost", "localhost."])
    async def test_under_no_other_name_either(self, name: str) -> None:
        async with serving({"/": answer(b"x")}) as host:
            await refused(f"http://{name}:{host.port}/", allow=[])
            assert host.requests == []

    async def test_a_name_that_leads_here_is_refused(self) -> None:
        async with serving({"/": answer(b"x")}) as host:
            told = await refused(
                host.url(host="registry.test"), allow=[], names={"registry.test": [["127.0.0.1"]]}
            )
            assert told.startswith(
                f"registry.test:{host.port}: cannot connect: 127.0.0.1 is not connected to"
            )

    @pytest.mark.parametrize("addresses", [["127.0.0.1"], ["127.0.0.1", "::1", "169.254.169.254"]])
    async def test_that_has_a_cause_of_its_own(self, addresses: list[str]) -> None:
        with pytest.raises(RemoteError) as raised:
            await get("http://registry.test:1/", allow=[], names={"registry.test": [addresses]})
        assert raised.value.cause == "barred"

    async def test_of_several_addresses_only_those_that_may_be_are_tried(self) -> None:
        async with serving({"/": answer(b"x")}) as host:
            names = {"registry.test": [["169.254.169.254", "::1", "127.0.0.1"]]}
            assert (await get(host.url(host="registry.test"), names=names)).body == b"x"

    async def test_a_name_that_moves_between_two_looks_is_looked_at_again(self) -> None:
        """DNS rebinding: it led to an address that may be, and leads to another now."""
        names = {"registry.test": [["127.0.0.1"], ["127.0.0.2"]]}
        async with serving({"/": answer(b"x", Connection="close")}) as first:
            resolver = Names(names)
            async with Egress(HERE, lambda: resolver).client() as client:
                url = first.url(host="registry.test")
                assert (await client.get(url, limit_bytes=9, timeout_seconds=9)).body == b"x"
                with pytest.raises(RemoteError, match=r"127\.0\.0\.2 is not connected to"):
                    await client.get(url, limit_bytes=9, timeout_seconds=9)
            assert len(first.requests) == 1

    @pytest.mark.parametrize(
        "url",
        [
            *(
                "",
                "registry.test",
                "ftp://127.0.0.1/",
                "file:///etc/passwd",
                "http://",
                "http://user:pw@127.0.0.1/",
            ),
            *(
                "http://127.0.0.1:0/",
                "http://127.0.0.1:99999/",
                "http://127.0.0.1/a b",
                "http://127.0.0.1/\n",
            ),
        ],
    )
    async def test_what_is_no_address_is_not_asked(self, url: str) -> None:
        assert await refused(url) == "the address: it is not http:// or https:// and a host"


class TestRedirects:
    @pytest.mark.parametrize("status", ["301 M", "302 F", "303 S", "307 T", "308 P"])
    async def test_on_the_same_host_they_are_followed(self, status: str) -> None:
        async with serving({"/": redirect("b?c=%2f", status), "/b": answer(b"x")}) as host:
            assert (await get(host.url(), authorization=SECRET)).body == b"x"
            assert host.requests[1].startswith("GET /b?c=%2f HTTP")
            assert all(SECRET in request for request in host.requests)

    async def test_five_of_them_and_no_more(self) -> None:
        routes: Routes = {f"/{n}": redirect(f"/{n + 1}") for n in range(7)}
        async with serving({**routes, "/7": answer(b"x")}) as host:
            assert (await get(host.url("/2"))).body == b"x"
            assert "it redirects more than 5 times" in await refused(host.url("/1"))

    async def test_to_another_host_only_where_that_is_expected(self) -> None:
        async with (
            serving({"/": answer(b"x")}) as there,
            serving({"/": redirect(there.url("/?key=canary"))}) as here,
        ):
            told = await refused(here.url())
            assert told == f"127.0.0.1:{here.port}: it redirects to another host, 127.0.0.1:{there.port}"
            assert there.requests == []
            assert (await get(here.url(), elsewhere=True)).body == b"x"

    async def test_credentials_stay_with_the_host_that_they_are_for(self) -> None:
        async with serving({}) as there, serving({"/": redirect("/b"), "/c": answer(b"y")}) as here:
            here.routes["/b"] = redirect(there.url())
            there.routes["/"] = redirect(here.url("/c"))
            assert (await get(here.url(), elsewhere=True, authorization=SECRET)).body == b"y"
            assert [SECRET in request for request in here.requests] == [True, True, False]
            assert [SECRET in request for request in there.requests] == [False]

    async def test_to_an_address_that_may_not_be(self) -> None:
        names = {"registry.test": [["127.0.0.1"]], "inside.test": [["127.0.0.2"]]}
        async with serving({"/": answer(b"x")}, host="127.0.0.2") as inside:
            for target in (inside.url(host="127.0.0.2"), inside.url(host="inside.test")):
                async with serving({"/": redirect(target)}) as host:
                    told = await refused(host.url(host="registry.test"), names=names, elsewhere=True)
                    assert "127.0.0.2 is not connected to" in told
            assert inside.requests == []

    @pytest.mark.parametrize(
        "location",
        ["file:///etc/passwd", "//user:pw@127.0.0.1/", "//127.0.0.1:x", "gopher://127.0.0.1/", "/a b"],
    )
    async def test_to_what_is_no_address(self, location: str) -> None:
        async with serving({"/": redirect(location)}) as host:
            told = await refused(host.url(), elsewhere=True)
            assert told == f"127.0.0.1:{host.port}: it redirects to what is no address of a web server"


class TestTLS:
    async def test_a_file_says_whose_certificates_are_trusted(self, tmp_path: Path) -> None:
        authority = self_signed("authority")
        (tmp_path / "ca.pem").write_bytes(authority.pem)
        (tmp_path / "other.pem").write_bytes(self_signed("other").pem)
        context = tls(authority.issue("host", hosts=("127.0.0.1",)), tmp_path)
        async with serving({"/": answer(b"x")}, tls=context) as host:
            assert (await get(host.url(), ca_file=tmp_path / "ca.pem")).body == b"x"
            for ca_file in (None, tmp_path / "other.pem"):
                told = await refused(host.url("/?q=canary"), ca_file=ca_file)
                assert "its certificate is not trusted: " in told and "canary" not in told
            told = await refused(
                host.url(host="other.test"),
                ca_file=tmp_path / "ca.pem",
                names={"other.test": [["127.0.0.1"]]},
            )
            assert "its certificate is not trusted: " in told

    async def test_it_is_never_left_for_plain_http(self, tmp_path: Path) -> None:
        authority = self_signed("authority")
        (tmp_path / "ca.pem").write_bytes(authority.pem)
        context = tls(authority.issue("host", hosts=("127.0.0.1",)), tmp_path)
        async with serving({"/": answer(b"x")}) as plain:
            async with serving({"/": redirect(plain.url())}, tls=context) as host:
                told = await refused(host.url(), ca_file=tmp_path / "ca.pem", elsewhere=True)
                assert told == f"127.0.0.1:{host.port}: it redirects to 127.0.0.1:{plain.port} without TLS"
            assert plain.requests == []

    async def test_tls_asked_of_what_speaks_something_else(self) -> None:
        async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"220 mail.example ESMTP\r\n")
            writer.close()

        async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
            told = await refused(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
            assert "cannot connect: " in told

    def test_a_file_of_no_use_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(CertificatesUnusable, match="cannot be read: No such file"):
            trust(tmp_path / "none")
        (tmp_path / "ca.pem").write_text("nothing")
        with pytest.raises(CertificatesUnusable, match="holds no certificates in PEM"):
            trust(tmp_path / "ca.pem")


class TestJSON:
    async def document(self, sent: bytes) -> object:
        async with serving({"/": sent}) as host, Egress(HERE).client() as client:
            return await client.get_json(host.url(), limit_bytes=100_000, timeout_seconds=9)

    @pytest.mark.parametrize(
        "kind", ["application/json", "Application/JSON; charset=utf-8", "application/jwk-set+json"]
    )
    async def test_what_says_that_it_is_is_read(self, kind: str) -> None:
        assert await self.document(answer(b'{"a": 1}', Content_Type=kind)) == {"a": 1}

    @pytest.mark.parametrize("kind", ["text/html", "text/json", "application/octet-stream", "jsonp", ""])
    async def test_what_does_not_is_not(self, kind: str) -> None:
        with pytest.raises(RemoteError, match="does not say that it is JSON"):
            await self.document(answer(b"{}", Content_Type=kind))

    @pytest.mark.parametrize(
        "body",
        [b"", b"{", b"\xff", b"[" * 50_000, b"1" * 5000, "{}".encode("utf-16")[:3]],
        ids=["empty", "half", "bytes", "deep", "long", "utf-16"],
    )
    async def test_what_says_so_and_is_not(self, body: bytes) -> None:
        with pytest.raises(RemoteError, match="what it answered is not JSON"):
            await self.document(json_answer(body))
