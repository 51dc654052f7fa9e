"""Many clients want a blob that nobody holds: the upstream sees it once, or twice if its holder dies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest

from tests.api.registry import Registry
from tests.api.server import Server
from tests.e2e.buckets import settings
from tests.e2e.crowd import REPOSITORY, Serve, Wanted, crowd, ended, on_disk
from tests.e2e.engines import Engine
from tests.e2e.mirrors import Upstream, namespace
from tests.e2e.tap import Tap
from tests.storage.buckets import Bucket, client_of

LARGE, SMALL = 64 << 20, 24 << 20


def test_three_servers_of_which_the_one_that_fetches_is_killed(
    wanted: Callable[[int], Wanted], serve_wanted: Serve
) -> None:
    large = wanted(LARGE)
    servers = [serve_wanted(large) for _ in range(3)]
    survive(large, servers, lambda: on_disk(servers[0]))


@pytest.mark.other_client
def test_three_servers_on_one_bucket(
    wanted: Callable[[int], Wanted], serve_wanted: Serve, engine: Engine, scratch: Path
) -> None:
    large, bucket = wanted(LARGE), Bucket(client_of(engine.endpoint), "registries/crowd")
    survive(large, [serve_wanted(large, settings(bucket, scratch)) for _ in range(3)], bucket.names)


def survive(large: Wanted, servers: Sequence[Server], names: Callable[[], Iterable[str]]) -> None:
    """Two hundred pull it, and who fetches it is killed half-way."""
    with large.tap.holding(large.half) as release:
        first = crowd(lambda _: large.puller(*servers), 1)
        large.hold(names)
        # A third of them at each, and those who lose it go on at the next.
        rest = crowd(lambda number: large.puller(*servers[number % 3 :], *servers[: number % 3]), 199)
        servers[0].kill()
        release()
        clients = ended([*first, *rest])
    assert sorted(client.asked for client in clients) == [1] * 132 + [2] * 68
    assert large.was_resumed(), large.requests()


def test_the_first_bytes_come_long_before_the_last(
    wanted: Callable[[int], Wanted], serve_wanted: Serve
) -> None:
    small = wanted(SMALL)
    servers = [serve_wanted(small), serve_wanted(small)]
    with small.tap.holding(small.half // 2) as release:
        # Who asks the server that fetches, and who asks another, have some while three quarters are missing.
        clients = crowd(lambda _: small.puller(servers[0]), 1)
        assert small.tap.held.wait(60)
        clients += crowd(lambda _: small.puller(servers[1]), 1)
        release()
        ended(clients)
    assert len(small.requests()) == 1, small.requests()


def test_the_next_upstream_goes_on_where_one_ends(
    wanted: Callable[[int], Wanted], upstream: Callable[[str], Upstream], scratch: Path
) -> None:
    small, other = wanted(SMALL), upstream("distribution2")
    Registry(other.wire.host_port).repository(REPOSITORY).push_blob(small.content)
    with Tap(other.wire.host_port) as tap:
        urls = ({"url": f"http://{one.host_port}"} for one in (small.tap, tap))
        server = Server(scratch / "data", scratch, namespace(*urls))
        try:
            with small.tap.holding(small.half):
                clients = crowd(lambda _: small.puller(server), 1)
                small.hold(lambda: on_disk(server))
                small.tap.close()
                ended(clients)
        finally:
            server.stop()
        [rest] = [request for request in tap.requests if "/blobs/" in request.target]
    start = int(rest.headers["range"].removeprefix("bytes=").removesuffix("-"))
    assert SMALL // 4 < start <= small.half
    assert len(small.requests()) == 1
