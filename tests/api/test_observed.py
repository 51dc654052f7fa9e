"""Who a request is said to come from."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Sequence
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from registry.api.observed import Observed
from registry.metrics import Metrics


async def told(caplog: pytest.LogCaptureFixture, peer: str, trusted: list[str], forwarded: str = "") -> str:
    """The client in the log line of a request."""
    headers = [(b"x-forwarded-for", forwarded.encode())] if forwarded else []
    return str((await line(caplog, peer, trusted, headers))["client"])


async def line(
    caplog: pytest.LogCaptureFixture,
    peer: str,
    trusted: Sequence[str] = (),
    headers: Sequence[tuple[bytes, bytes]] = (),
    path: str = "/",
) -> dict[str, Any]:
    """The log line of a request."""

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        return None

    networks = [ipaddress.ip_network(one) for one in trusted]
    app = Observed(inner, listener="registry", metrics=Metrics("0"), trusted_proxies=networks)
    scope = {"type": "http", "method": "GET", "path": path, "headers": list(headers), "client": (peer, 1)}
    with caplog.at_level(logging.INFO):
        await app(scope, receive, send)
    fields: dict[str, Any] = caplog.records[-1].__dict__["fields"]
    return fields


@pytest.mark.parametrize(
    ("peer", "trusted", "forwarded", "client"),
    [
        ("127.0.0.1", [], "10.0.0.9", "127.0.0.1"),
        ("127.0.0.1", ["127.0.0.1"], "10.0.0.9", "10.0.0.9"),
        # A socket for both families, such as `:5000`, shows IPv4 so.
        ("::ffff:127.0.0.1", ["127.0.0.0/8"], "10.0.0.9", "10.0.0.9"),
        ("::ffff:192.0.2.1", ["127.0.0.1"], "10.0.0.9", "192.0.2.1"),
        ("::ffff:127.0.0.1", ["127.0.0.1"], "10.0.0.9, ::ffff:127.0.0.1", "10.0.0.9"),
        ("127.0.0.1", ["127.0.0.1"], "::FFFF:10.0.0.9", "10.0.0.9"),
        ("127.0.0.1", ["127.0.0.1"], "::ffff:nonsense", "::ffff:nonsense"),
        ("2001:db8::1", ["2001:db8::/32"], "10.0.0.9", "10.0.0.9"),
    ],
)
async def test_the_client_is_whom_no_trusted_proxy_is(
    caplog: pytest.LogCaptureFixture, peer: str, trusted: list[str], forwarded: str, client: str
) -> None:
    assert await told(caplog, peer, trusted, forwarded) == client


async def test_a_client_cannot_fill_the_log_with_one_request(caplog: pytest.LogCaptureFixture) -> None:
    path, agent = "/v2/" + "a" * 100_000, "b" * 200_000
    found = await line(caplog, "127.0.0.1", headers=[(b"user-agent", agent.encode())], path=path)
    assert found["path"] == path[:1023] + "…"
    assert found["user_agent"] == agent[:1023] + "…"
    short = await line(caplog, "127.0.0.1", headers=[(b"user-agent", b"c" * 1024)], path="/" + "d" * 1023)
    assert (short["user_agent"], short["path"]) == ("c" * 1024, "/" + "d" * 1023), "what fits is whole"


async def test_what_is_cut_off_shows_no_half_of_a_credential(caplog: pytest.LogCaptureFixture) -> None:
    agent = b"x" * 1000 + b" https://user:" + b"hunter2" * 20 + b"@example.com/" + b"y" * 1000
    found = await line(caplog, "127.0.0.1", headers=[(b"user-agent", agent)])
    assert "hunter" not in found["user_agent"]
