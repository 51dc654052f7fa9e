"""Many clients of one server with two workers want a blob that nobody holds."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from tests.e2e.crowd import Serve, Wanted, crowd, ended, on_disk
from tests.e2e.workers import has_end, workers

SIZE = 24 << 20


def test_two_workers_of_which_the_one_that_fetches_is_killed(
    wanted: Callable[[int], Wanted], serve_wanted: Serve
) -> None:
    once, twice = wanted(SIZE), wanted(SIZE)
    server = serve_wanted(once, {"workers": 2})
    ended(crowd(lambda _: once.puller(server), 60))
    assert len(once.requests()) == 1, "nobody died"
    with twice.tap.holding(twice.half) as release:
        first = crowd(lambda _: twice.puller(server, server), 1)
        twice.hold(lambda: on_disk(server))
        rest = crowd(lambda _: twice.puller(server, server), 60)
        port = int(twice.tap.host_port.rpartition(":")[2])
        [holder] = [pid for pid in workers(server) if has_end(pid, twice.tap.held_port, port)]
        os.kill(holder, signal.SIGKILL)
        release()
        ended([*first, *rest])
    assert first[0].asked == 2, "it was the holder's"
    assert twice.was_resumed(), twice.requests()
