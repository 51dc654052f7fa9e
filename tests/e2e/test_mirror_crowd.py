"""Many clients want a blob that nobody holds: the upstream sees it once, or twice if its holder dies."""

from __future__ import annotations

from collections.abc import Callable

from tests.e2e.crowd import Serve, Wanted, crowd, ended

LARGE, SMALL = 64 << 20, 16 << 20


def test_three_servers_of_which_the_one_that_fetches_is_killed(
    wanted: Callable[[int], Wanted], serve_wanted: Serve
) -> None:
    large = wanted(LARGE)
    servers = [serve_wanted(large) for _ in range(3)]
    with large.tap.holding(large.half) as release:
        first = crowd(lambda _: large.puller(*servers), 1)
        large.hold(servers[0])
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
