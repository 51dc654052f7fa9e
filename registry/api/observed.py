"""Around every listener: a request id, one log line and the metrics of each request."""

from __future__ import annotations

import ipaddress
import logging
import re
import secrets
import time
from collections.abc import Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from registry import logs
from registry.api.networks import Network, is_within
from registry.metrics import Metrics

# Proxies look at health several times a second.
_ASKED_ALWAYS = frozenset({"/livez", "/readyz"})
_LOG = logging.getLogger(__name__)
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


class Observed:
    """An ASGI application that says of each request what came of it."""

    def __init__(
        self, inner: ASGIApp, *, listener: str, metrics: Metrics, trusted_proxies: Sequence[Network]
    ) -> None:
        self._inner = inner
        self._listener = listener
        self._metrics = metrics
        self._trusted = tuple(trusted_proxies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request and account for it."""
        headers: dict[bytes, bytes] = dict(scope["headers"])
        identity = self._identity(headers, scope)
        client = scope["client_address"] = self._client(headers, scope)
        token = logs.request_id.set(identity)
        began = time.perf_counter()
        status = 0
        sent = received = 0

        async def counted_receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            return message

        async def counted_send(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", identity.encode())]
            else:
                sent += len(message.get("body", b"")) + message.get("count", 0)
            await send(message)

        self._metrics.began(self._listener)
        try:
            await self._inner(scope, counted_receive, counted_send)
        finally:
            seconds = time.perf_counter() - began
            route = scope.get("route", "none")
            self._metrics.ended(self._listener, scope["method"], route, status, seconds)
            if sent:
                self._metrics.downloaded(sent)
            if received:
                self._metrics.uploaded(received)
            logs.event(
                _LOG,
                logging.INFO if self._listener != "ops" and route not in _ASKED_ALWAYS else logging.DEBUG,
                "http.request",
                listener=self._listener,
                method=scope["method"],
                path=logs.shortened(scope["path"]),
                status=status,
                seconds=round(seconds, 6),
                bytes_in=received,
                bytes_out=sent,
                client=client,
                user_agent=logs.shortened(headers.get(b"user-agent", b"").decode("latin-1")),
            )
            logs.request_id.reset(token)

    def _identity(self, headers: dict[bytes, bytes], scope: Scope) -> str:
        """A trusted proxy's own request id where it sends one, else a fresh one."""
        told = headers.get(b"x-request-id", b"")
        if self._trusted and _REQUEST_ID.fullmatch(told) and self._is_trusted(_peer(scope)):
            return told.decode("ascii")
        return secrets.token_hex(8)

    def _client(self, headers: dict[bytes, bytes], scope: Scope) -> str:
        """Who asked: behind trusted proxies the last address that none of them is."""
        client = _peer(scope)
        if not self._trusted or not self._is_trusted(client):
            return client
        for hop in reversed(headers.get(b"x-forwarded-for", b"").decode("latin-1").split(",")):
            if not (hop := _plain(hop.strip())):
                continue
            client = hop
            if not self._is_trusted(hop):
                break
        return client

    def _is_trusted(self, address: str) -> bool:
        return is_within(address, self._trusted)


def _peer(scope: Scope) -> str:
    client = scope.get("client")
    return _plain(str(client[0])) if client else ""


def _plain(address: str) -> str:
    """An IPv4 client of a socket for both families as IPv4 writes it: `::ffff:10.0.0.1` is `10.0.0.1`."""
    if not address.lower().startswith("::ffff:"):
        return address
    try:
        mapped = ipaddress.IPv6Address(address).ipv4_mapped
    except ValueError:
        return address
    return address if mapped is None else str(mapped)
