"""A web server that answers just what a test says, and names that lead where a test says."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

Script = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that depends on the head of the request."""

    make: Callable[[str], bytes]


Route = bytes | Script | Reply
Routes = dict[str, Route]


class Host:
    """Answers each path with what the routes have for it, and remembers what was asked, by how many."""

    def __init__(self, port: int, scheme: str, routes: Routes) -> None:
        self.port = port
        self.scheme = scheme
        self.routes = routes
        self.requests: list[str] = []
        self.connections = 0

    def asked(self, path: str) -> list[str]:
        """The heads of the requests for a path."""
        return [head for head in self.requests if head.split(" ", 2)[1].partition("?")[0] == path]

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        """The address of a path."""
        return f"{self.scheme}://{host}:{self.port}{path}"


def answer(body: bytes = b"", *, status: str = "200 OK", length: int | None = None, **headers: Any) -> bytes:
    """A whole answer; `Content_Type` is the header Content-Type. To a HEAD only its head is sent."""
    told = {"Content-Length": str(len(body) if length is None else length), **headers}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in told.items()]
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode() + body


def json_answer(body: bytes) -> bytes:
    """An answer that says that it is JSON."""
    return answer(body, Content_Type="application/json")


def redirect(location: str, status: str = "302 Found") -> bytes:
    """An answer that sends elsewhere."""
    return answer(status=status, Location=location)


@asynccontextmanager
async def serving(
    routes: Mapping[str, Route], *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[Host]:
    """A host on a port that the kernel chose."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        made.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                made.requests.append(head)
                path = head.split(" ", 2)[1].partition("?")[0]
                found = made.routes.get(path, answer(status="404 Not Found"))
                if isinstance(found, bytes | Reply):
                    sent = found if isinstance(found, bytes) else found.make(head)
                    if head.startswith("HEAD "):
                        sent = sent.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
                    writer.write(sent)
                    await writer.drain()
                else:
                    await found(writer)
                    return
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError):
            pass
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, host, 0, ssl=tls)
    made = Host(server.sockets[0].getsockname()[1], "http" if tls is None else "https", dict(routes))
    try:
        yield made
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


class Names(AbstractResolver):
    """Resolves each name to the addresses that a test says; of several lists the next each time."""

    def __init__(self, names: Mapping[str, list[list[str]]]) -> None:
        self._names = {name: list(turns) for name, turns in names.items()}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses, in the form that the client wants."""
        turns = self._names.get(host)
        if turns is None:
            raise OSError(None, "nobody has this name")
        addresses = turns.pop(0) if len(turns) > 1 else turns[0]
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """Nothing is open."""
