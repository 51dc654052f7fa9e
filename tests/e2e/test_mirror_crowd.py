"""Many clients want a blob that nobody holds: the upstream sees it once, or twice if its holder dies."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.api.registry import Registry
from tests.api.server import Server, merged
from tests.e2e.crowd import Client, crowd, ended
from tests.e2e.images import digest_of
from tests.e2e.mirrors import NAMESPACE, Upstream, namespace
from tests.e2e.tap import Request, Tap
from tests.e2e.workers import has_end, workers

REPOSITORY = "library/crowd"
LARGE, SMALL = 64 << 20, 24 << 20

Serve = Callable[..., Server]


class Blob:
    """One that the upstream has, and the tap in front of that."""

    def __init__(self, tap: Tap, content: bytes) -> None:
        self.tap = tap
        self.content = content
        self.path = f"{REPOSITORY}/blobs/{digest_of(content)}"

    @property
    def half(self) -> int:
        """Half of its bytes."""
        return len(self.content) // 2

    def puller(self, *servers: Server) -> Client:
        """Somebody who asks these servers in turn."""
        return Client(
            [server.registry.host_port for server in servers], f"/v2/{NAMESPACE}/{self.path}", self.content
        )

    def requests(self) -> list[Request]:
        """When the upstream was asked for its bytes."""
        target = f"/v2/{self.path}"
        return [one for one in self.tap.requests if (one.method, one.target) == ("GET", target)]

    def was_resumed(self) -> bool:
        """Whether the upstream was asked for all, and then only for what was not stored yet."""
        first, second = self.requests()
        start = int(second.headers["range"].removeprefix("bytes=").removesuffix("-"))
        return "range" not in first.headers and len(self.content) // 4 < start <= self.half


@pytest.fixture
def blob(upstream: Callable[[str], Upstream]) -> Iterator[Callable[[int], Blob]]:
    """Puts blobs of so many bytes at an upstream."""
    above = upstream("distribution3")
    with Tap(above.wire.host_port) as tap:

        def make(size_bytes: int) -> Blob:
            content = os.urandom(size_bytes)
            Registry(above.wire.host_port).repository(REPOSITORY).push_blob(content)
            return Blob(tap, content)

        yield make


@pytest.fixture
def serve(scratch: Path) -> Iterator[Serve]:
    """Starts servers on one directory, each with the namespace."""
    started: list[Server] = []

    def start(blob: Blob, **more: object) -> Server:
        settings = merged(namespace({"url": f"http://{blob.tap.host_port}"}), more)
        started.append(Server(scratch / "data", scratch, settings))
        return started[-1]

    yield start
    for server in started:
        server.stop()


def test_three_servers_of_which_the_one_that_fetches_is_killed(
    blob: Callable[[int], Blob], serve: Serve
) -> None:
    large = blob(LARGE)
    servers = [serve(large) for _ in range(3)]
    with large.tap.holding(large.half) as release:
        first = crowd(lambda _: large.puller(*servers), 1)
        assert large.tap.held.wait(30)
        # A third of them at each, and those who lose it go on at the next.
        rest = crowd(lambda number: large.puller(*servers[number % 3 :], *servers[: number % 3]), 199)
        servers[0].kill()
        release()
        clients = ended([*first, *rest])
    assert sorted(client.asked for client in clients) == [1] * 132 + [2] * 68
    assert large.was_resumed(), large.requests()


def test_two_workers_of_which_the_one_that_fetches_is_killed(
    blob: Callable[[int], Blob], serve: Serve
) -> None:
    small, other = blob(SMALL), blob(SMALL)
    server = serve(small, workers=2)
    ended(crowd(lambda _: small.puller(server), 60))
    assert len(small.requests()) == 1, "nobody died"
    with other.tap.holding(other.half) as release:
        first = crowd(lambda _: other.puller(server, server), 1)
        assert other.tap.held.wait(30)
        rest = crowd(lambda _: other.puller(server, server), 60)
        port = int(other.tap.host_port.rpartition(":")[2])
        [holder] = [pid for pid in workers(server) if has_end(pid, other.tap.held_port, port)]
        os.kill(holder, signal.SIGKILL)
        release()
        ended([*first, *rest])
    assert first[0].asked == 2, "it was the holder's"
    assert other.was_resumed(), other.requests()


def test_the_first_bytes_come_long_before_the_last(blob: Callable[[int], Blob], serve: Serve) -> None:
    small = blob(SMALL)
    servers = [serve(small), serve(small)]
    with small.tap.holding(small.half // 2) as release:
        # Who asks the server that fetches, and who asks another, have some while three quarters are missing.
        clients = crowd(lambda _: small.puller(servers[0]), 1)
        assert small.tap.held.wait(30)
        clients += crowd(lambda _: small.puller(servers[1]), 1)
        release()
        ended(clients)
    assert len(small.requests()) == 1, small.requests()
