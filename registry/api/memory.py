"""The bytes that one process holds for slow clients: manifests being pushed, and answers being read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from registry.errors import RegistryError, Unavailable

# What each may have without asking: nearly all have less, so that large ones never keep those out.
_FREE_BYTES = 64 << 10


class Memory:
    """A bound on the bytes of large things in memory: a thousand slow clients could have 4 MiB each."""

    def __init__(self, most_bytes: int, what: str) -> None:
        self._most = most_bytes
        self._what = what
        self._taken = 0

    def take(self, size_bytes: int, *, refuse: bool = True) -> None:
        """Count bytes as held. Raises Unavailable, but never for the first, however large that is."""
        if refuse and self._taken and self._taken + size_bytes > self._most:
            raise Unavailable(
                f"this process holds {self._taken} bytes of large {self._what}; try again shortly",
                headers={"Retry-After": "5"},
            )
        self._taken += size_bytes

    def give_back(self, size_bytes: int) -> None:
        """They are held no more."""
        self._taken -= size_bytes


class Lease:
    """What one push holds."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.size_bytes = 0

    def extend(self, size_bytes: int) -> None:
        """Hold `size_bytes` in all. Raises Unavailable when the process holds too much already."""
        more = size_bytes - _FREE_BYTES - self.size_bytes
        if more > 0:
            self._memory.take(more)
            self.size_bytes += more


class ManifestMemory:
    """Bounds the manifests that are being pushed."""

    def __init__(self, most_bytes: int) -> None:
        self._memory = Memory(most_bytes, "manifests that are being pushed")

    @contextmanager
    def lease(self) -> Iterator[Lease]:
        """What is taken through the lease is given back at the end."""
        lease = Lease(self._memory)
        try:
            yield lease
        finally:
            self._memory.give_back(lease.size_bytes)


class AnswerMemory:
    """Bounds the answers that clients are still reading; what several of them read at once counts once."""

    def __init__(self, most_bytes: int) -> None:
        self._memory = Memory(most_bytes, "answers that clients are reading")
        self._readers: dict[int, int] = {}

    async def send(self, response: Response, scope: Scope, receive: Receive, send: Send) -> None:
        """Send an answer. Raises Unavailable, before any of it was sent."""
        if len(response.body) <= _FREE_BYTES:
            await response(scope, receive, send)
            return
        with self.holding(response.body):
            await response(scope, receive, send)

    async def refuse(
        self,
        error: RegistryError,
        rendered: Callable[[RegistryError], Response],
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        """Send what is rendered of an error, or, where that is large and there is no room, of that alone."""
        # Its frames hold what was to be sent, and who calls holds it: for as long as nobody collects them.
        error.__traceback__ = None
        try:
            await self.send(rendered(error), scope, receive, send)
        except Unavailable as no_room:
            await self.send(rendered(no_room), scope, receive, send)

    @contextmanager
    def holding(self, body: bytes | memoryview, *, refuse: bool = True) -> Iterator[None]:
        """Count a body while it is being sent. Raises Unavailable unless it must not be refused any more."""
        size = len(body) - _FREE_BYTES
        if size <= 0:
            yield
            return
        # While it is held, no other object has its id.
        name = id(body)
        readers = self._readers.get(name, 0)
        if not readers:
            self._memory.take(size, refuse=refuse)
        self._readers[name] = readers + 1
        try:
            yield
        finally:
            self._readers[name] -= 1
            if not self._readers[name]:
                del self._readers[name]
                self._memory.give_back(size)
