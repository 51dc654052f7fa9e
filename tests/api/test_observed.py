"""Who a request is said to come from."""

from __future__ import annotations

import ipaddress
import logging

import pytest
from starlette.types import Message, Receive, Scope, Send

from registry.api.observed import Observed
from registry.metrics import Metrics


async def told(caplog: pytest.LogCaptureFixture, peer: str, trusted: list[str], forwarded: str = "") -> str:
    """The client in the log line of a request."""

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        return None

    networks = [ipaddress.ip_network(one) for one in trusted]
    app = Observed(inner, listener="registry", metrics=Metrics("0"), trusted_proxies=networks)
    headers = [(b"x-forwarded-for", forwarded.encode())] if forwarded else []
    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers, "client": (peer, 1)}
    with caplog.at_level(logging.INFO):
        await app(scope, receive, send)
    return str(caplog.records[-1].__dict__["fields"]["client"])


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
