"""Which hosts are asked through a proxy, and what a proxy is told."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
import traceback
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

import pytest
from pydantic import ValidationError

from registry.remote.egress import Egress
from registry.remote.errors import RemoteError
from registry.remote.proxies import Proxies
from registry.remote.settings import EgressSettings
from tests.certificates import self_signed
from tests.remote.hosts import Names, answer, redirect, serving

HERE = [ipaddress.ip_network("127.0.0.1/32")]
HTTP, HTTPS = "http://plain.example:3128", "http://tls.example:3128"


def found(url: str, *exempt: str) -> str | None:
    return Proxies(HTTP, HTTPS, exempt).find(urlsplit(url))


class TestWho:
    def test_each_scheme_has_its_own(self) -> None:
        assert found("http://a.example/") == HTTP
        assert found("https://a.example/") == HTTPS
        assert Proxies(None, HTTPS).find(urlsplit("http://a.example/")) is None

    @pytest.mark.parametrize(
        "host", ["localhost", "LOCALHOST", "localhost.", "127.0.0.1", "127.9.9.9", "[::1]"]
    )
    def test_this_machine_is_asked_directly(self, host: str) -> None:
        assert found(f"https://{host}:5000/") is None

    @pytest.mark.parametrize(
        ("entry", "hosts", "others"),
        [
            ("*", ["a.example", "10.0.0.1"], []),
            ("a.example", ["a.example", "b.a.example", "A.EXAMPLE", "a.example."], ["ba.example", "example"]),
            (" A.example ", ["a.example"], []),
            (".a.example", ["b.a.example", "c.b.a.example"], ["a.example"]),
            ("*.a.example", ["b.a.example"], ["a.example"]),
            ("a.example:443", ["a.example", "a.example:443"], ["a.example:5000"]),
            ("a.example:5000", ["a.example:5000"], ["a.example"]),
            ("10.1.2.3", ["10.1.2.3"], ["10.1.2.4"]),
            ("10.1.2.3:5000", ["10.1.2.3:5000"], ["10.1.2.3"]),
            ("10.0.0.0/8", ["10.200.1.1"], ["11.0.0.1", "10.example"]),
            ("10.1.1.1/8", ["10.200.1.1"], ["11.0.0.1"]),
            ("fd00::/8", ["[fd00::1]"], ["[fe00::1]"]),
            ("[fd00::1]:5000", ["[fd00::1]:5000"], ["[fd00::1]"]),
            ("", [], ["a.example"]),
        ],
    )
    def test_who_is_listed_is_asked_directly(self, entry: str, hosts: list[str], others: list[str]) -> None:
        for host in hosts:
            assert found(f"https://{host}/", "other.example", entry) is None, host
        for host in others:
            assert found(f"https://{host}/", "other.example", entry) == HTTPS, host


class TestSettings:
    def of(self, environ: dict[str, str], **settings: object) -> Proxies:
        return Proxies.of(EgressSettings.model_validate(settings), environ)

    def through(self, proxies: Proxies, url: str) -> str | None:
        return proxies.find(urlsplit(url))

    def test_the_environment_says_it(self) -> None:
        proxies = self.of({"HTTPS_PROXY": HTTPS, "http_proxy": HTTP, "NO_PROXY": "b.example, .c.example"})
        assert self.through(proxies, "https://a.example/") == HTTPS
        assert self.through(proxies, "http://a.example/") == HTTP
        assert self.through(proxies, "https://b.example/") is None
        assert self.through(proxies, "https://x.c.example/") is None
        assert self.through(self.of({}), "https://a.example/") is None
        assert self.through(self.of({"HTTPS_PROXY": ""}), "https://a.example/") is None

    def test_the_configuration_stands_for_it(self) -> None:
        environ = {"HTTPS_PROXY": HTTPS, "NO_PROXY": "b.example"}
        proxies = self.of(environ, proxy="http://set.example:1")
        assert self.through(proxies, "https://a.example/") == "http://set.example:1"
        assert self.through(proxies, "http://a.example/") == "http://set.example:1"
        assert self.through(proxies, "https://b.example/") is None
        assert self.through(self.of(environ, no_proxy=["*"]), "https://a.example/") is None
        assert self.through(self.of(environ, no_proxy=[]), "https://b.example/") == HTTPS

    def test_a_host_and_a_port_are_enough(self) -> None:
        proxies = self.of({"HTTPS_PROXY": "proxy.example:3128"})
        assert self.through(proxies, "https://a.example/") == "http://proxy.example:3128"

    @pytest.mark.parametrize(
        "proxy",
        ["https://p.example", "socks5://p.example:1080", "http://", "http://p:x", "http://p/path", "p:0"],
    )
    def test_what_is_no_proxy_is_said_to_be_none(self, proxy: str) -> None:
        with pytest.raises(ValidationError, match="must be http:// and the host of a proxy"):
            self.of({}, proxy=proxy)
        with pytest.raises(ValueError, match="must be http:// and the host of a proxy"):
            self.through(self.of({"HTTPS_PROXY": proxy}), "https://a.example/")

    def test_its_password_is_not_shown(self) -> None:
        settings = EgressSettings.model_validate({"proxy": "http://me:canary@p.example"})
        assert "canary" not in repr(settings) + settings.model_dump_json()


@asynccontextmanager
async def tunnelling(to: int) -> AsyncIterator[tuple[int, list[str]]]:
    """A proxy that connects to one port here, whoever is asked for; and the heads that it was sent."""
    heads: list[str] = []
    tasks: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(1 << 16):
            writer.write(piece)
            await writer.drain()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        there, back = await asyncio.open_connection("127.0.0.1", to)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            await asyncio.gather(pump(reader, back), pump(there, writer))
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            back.close()
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1], heads
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def asked(
    url: str,
    proxies: Proxies,
    *,
    ca_file: Path | None = None,
    names: Mapping[str, list[list[str]]] = MappingProxyType({}),
) -> bytes:
    egress = Egress(HERE, lambda: Names(names), proxies)
    async with egress.client(ca_file) as client:
        return (await client.get(url, limit_bytes=1000, timeout_seconds=10, elsewhere=True)).body


class TestAsking:
    async def test_plain_requests_are_sent_to_it_whole(self) -> None:
        async with serving({"http://registry.test/a": answer(b"x")}) as proxy:
            proxies = Proxies(f"http://me:canary@127.0.0.1:{proxy.port}")
            assert await asked("http://registry.test/a", proxies) == b"x"
            assert proxy.requests[0].startswith("GET http://registry.test/a HTTP/1.1\r\n")
            assert "Host: registry.test\r\n" in proxy.requests[0]
            assert "Proxy-Authorization: Basic bWU6Y2FuYXJ5\r\n" in proxy.requests[0]

    async def test_tls_passes_through_it(self, tmp_path: Path) -> None:
        authority = self_signed("authority")
        (tmp_path / "ca.pem").write_bytes(authority.pem)
        files = authority.issue("host", hosts=("registry.test",)).write(tmp_path)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files["certificate"], files["key"])
        async with (
            serving({"/a": answer(b"x")}, tls=context) as host,
            tunnelling(host.port) as (port, heads),
        ):
            proxies = Proxies(None, f"http://me:canary@127.0.0.1:{port}")
            ca_file = tmp_path / "ca.pem"
            assert await asked("https://registry.test/a", proxies, ca_file=ca_file) == b"x"
            assert heads[0].startswith("CONNECT registry.test:443 HTTP/1.1\r\n")
            assert "Proxy-Authorization: Basic bWU6Y2FuYXJ5\r\n" in heads[0]
            assert "uthorization" not in host.requests[0]
            # The certificate is that of who was asked for.
            with pytest.raises(RemoteError, match="its certificate is not trusted"):
                await asked("https://other.test/a", proxies, ca_file=ca_file)

    async def test_egress_is_as_the_operator_has_set_it(self) -> None:
        async with serving({"http://registry.test/a": answer(b"x")}) as proxy:
            settings = EgressSettings.model_validate({"allow": ["127.0.0.1"]})
            egress = Egress.of(settings, {"http_proxy": f"127.0.0.1:{proxy.port}"})
            async with egress.client() as client:
                got = await client.get("http://registry.test/a", limit_bytes=9, timeout_seconds=9)
            assert got.body == b"x"

    async def test_who_is_exempt_is_asked_directly(self) -> None:
        async with serving({"/a": answer(b"x")}) as host:
            proxies = Proxies("http://127.0.0.1:1", exempt=["registry.test"])
            url = host.url("/a", host="registry.test")
            assert await asked(url, proxies, names={"registry.test": [["127.0.0.1"]]}) == b"x"

    async def test_its_own_address_is_looked_at(self) -> None:
        async with serving({}) as proxy:
            told = await refused("http://registry.test/", f"http://127.0.0.2:{proxy.port}")
            assert told.startswith(f"registry.test: its proxy is 127.0.0.2:{proxy.port}, and cannot connect:")
            assert "this machine itself; see egress.allow" in told
            assert proxy.requests == []

    @pytest.mark.parametrize(
        "address", ["169.254.169.254", "[fd00:ec2::254]", "2852039166", "0xa9.254.43518"]
    )
    async def test_addresses_that_are_written_out_are_looked_at(self, address: str) -> None:
        async with serving({"http://registry.test/": redirect(f"http://{address}/")}) as proxy:
            url = f"http://127.0.0.1:{proxy.port}"
            for asking in (f"http://{address}/", "http://registry.test/"):
                told = await refused(asking, url)
                assert "it is not asked for through a proxy either" in told and "egress.allow" in told
            assert len(proxy.requests) == 1

    async def test_one_that_is_not_there(self) -> None:
        async with serving({}) as proxy:
            port = proxy.port
        told = await refused("https://registry.test/", f"http://me:canary@127.0.0.1:{port}")
        assert told.startswith(f"registry.test: its proxy is 127.0.0.1:{port}, and cannot connect: ")
        assert "canary" not in told
        told = await refused("https://registry.test/", "http://proxy.test:1")
        assert told == "registry.test: its proxy is proxy.test:1, and its name is not known"

    async def test_one_that_does_not_connect(self) -> None:
        async def refusing(writer: asyncio.StreamWriter) -> None:
            writer.write(answer(status="407 Proxy Authentication Required"))
            await writer.drain()

        async with serving({"registry.test:443": refusing}) as proxy:
            told = await refused("https://registry.test/", f"http://me:canary@127.0.0.1:{proxy.port}")
            assert told == "registry.test: the proxy did not connect to it, it answered 407"

    async def test_one_that_is_none(self) -> None:
        told = await refused("https://registry.test/", "socks5://127.0.0.1:1080")
        assert told.startswith("registry.test: what is set as the proxy must be http://")


async def refused(url: str, proxy: str) -> str:
    with pytest.raises(RemoteError) as raised:
        await asked(url, Proxies(proxy, proxy))
    is_barred = "see egress.allow" in str(raised.value)
    assert raised.value.cause == ("barred" if is_barred else "unreachable")
    # As it would stand in the log, whatever the library has said.
    assert "canary" not in "".join(traceback.format_exception(raised.value))
    return str(raised.value)
