"""A proxy between a driver and its store that does to chosen requests what networks and stores do."""

from __future__ import annotations

import asyncio
import http.client
import socket
import ssl
import struct
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import urlsplit

Fault = Literal[
    "drop", "lose", "reset", "truncate", "strip", "whole", "late", "hold", "expired", 403, 404, 409, 500, 503
]
"""Not passed on: drop (no answer), expired (credentials), late (an error behind 200), 403, 404, 409, 503.

Passed on, then: lose, reset, 500, truncate (half), strip (of headers). `whole` is passed on without its
range, `hold` not before the test says so.
"""

_CODES = {
    400: "ExpiredToken",
    403: "AccessDenied",
    404: "NoSuchUpload",
    409: "ConditionalRequestConflict",
    500: "InternalError",
    503: "SlowDown",
}


@dataclass(slots=True)
class Rule:
    """What happens to the next `times` requests of a method ("": any) to a target with `word` in it.

    That is, after `skip` of them that nothing happens to.
    """

    method: str
    word: str
    fault: Fault
    times: int = 1
    before: Callable[[], None] = lambda: None
    skip: int = 0
    # That `strip` takes away, in small letters, and those that it puts in their place.
    headers: Collection[str] = ()
    instead: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Proxy:
    """Where it listens; its `rules`; the requests that it has `seen` and, of those, `struck`.

    And whose `keys` signed them, and as whom they were `proxied`.
    """

    endpoint: str
    rules: list[Rule] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    struck: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    proxied: list[str | None] = field(default_factory=list)
    held: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def rule(self, method: str, target: str) -> Rule | None:
        """What is to happen to a request, if anything."""
        self.seen.append(f"{method} {target}")
        with self._turn:
            rule = self._next(method, target)
        if rule is not None:
            self.struck.append(f"{method} {target}")
            rule.before()
        return rule

    def _next(self, method: str, target: str) -> Rule | None:
        for rule in self.rules:
            if rule.times and rule.method in ("", method) and rule.word in target:
                if rule.skip:
                    rule.skip -= 1
                    continue
                rule.times -= 1
                return rule
        return None

    async def until_seen(self, method: str, word: str, count: int) -> None:
        """Wait until there were so many requests of a method to targets with a word in them."""
        async with asyncio.timeout(30):
            while sum(one.startswith(method) and word in one for one in self.seen) < count:
                await asyncio.sleep(0.001)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Else a body waits until its head is acknowledged, for 40 ms.
    disable_nagle_algorithm = True
    proxy: Proxy
    store: str

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class has it
        """Nothing."""

    def do(self) -> None:
        """One request."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.proxy.keys.append(self.headers["Authorization"].partition("Credential=")[2].partition("/")[0])
        self.proxy.proxied.append(self.headers["Proxy-Authorization"])
        rule = self.proxy.rule(self.command, self.path)
        fault = None if rule is None else rule.fault
        if fault == "hold":
            self.proxy.held.set()
            self.proxy.go_on.wait(30)
        if fault in (403, 404, 409, 503, "expired"):
            self._refuse(400 if fault == "expired" else int(fault))
            return
        if fault == "late":
            self._refuse(500, told=200)
            return
        if fault == "drop":
            self.close_connection = True
            return
        if fault == "whole":
            del self.headers["Range"]
        status, headers, answer = self._forward(body)
        if fault == 500:
            self._refuse(500)
        elif fault == "lose":
            self.close_connection = True
        elif fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.shutdown(socket.SHUT_RD)
            self.close_connection = True
        else:
            if rule is not None and fault == "strip":
                headers = [(name, value) for name, value in headers if name.lower() not in rule.headers]
                headers += rule.instead.items()
            self.send_response_only(status)
            for name, value in headers:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer if fault != "truncate" else answer[: len(answer) // 2])
            self.close_connection = self.close_connection or fault in ("truncate", "strip")

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do  # noqa: N815 - as the base class has them

    def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(self.store, timeout=30)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() != "expect"}
            path = self.path
            if not path.startswith("/"):
                # As a client asks that takes this for a proxy to everywhere.
                path = urlsplit(path)._replace(scheme="", netloc="").geturl()
                headers["Host"] = self.store
            connection.request(self.command, path, body, headers)
            answer = connection.getresponse()
            hop = ("connection", "transfer-encoding", "keep-alive")
            kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in hop]
            data = answer.read()
            if answer.chunked:
                kept.append(("Content-Length", str(len(data))))
            return answer.status, kept, data
        finally:
            connection.close()

    def _refuse(self, status: int, told: int | None = None) -> None:
        text = f"<Error><Code>{_CODES[status]}</Code><Message>made up</Message></Error>".encode()
        self.send_response_only(told or status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who was killed breaks its connections."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def proxy_of(store: str, trust: ssl.SSLContext | None = None) -> Iterator[Proxy]:
    """A proxy of the store at an address, encrypted or not."""
    handler = type("Handler", (_Handler,), {"store": urlsplit(store).netloc})
    server = _Server(("127.0.0.1", 0), handler)
    if trust is not None:
        server.socket = trust.wrap_socket(server.socket, server_side=True)
    proxy = Proxy(f"{'http' if trust is None else 'https'}://127.0.0.1:{server.server_port}")
    handler.proxy = proxy  # type: ignore[attr-defined]
    # It looks that often whether it is to end.
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield proxy
    finally:
        proxy.go_on.set()
        server.shutdown()
        server.server_close()
        thread.join()
