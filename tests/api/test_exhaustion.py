"""What happens when a process has no file descriptor left."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from tests.api.client import Connection
from tests.api.conftest import Serve
from tests.server.conftest import until

BLOB = bytes(range(256)) * 1024


def with_limit(soft: int, hard: int) -> list[str]:
    """What a command is put behind to have these limits of open files."""
    return ["sh", "-c", f'ulimit -Sn {soft} && ulimit -Hn {hard} && exec "$@"', "sh"]


def test_the_limit_of_open_files_is_raised_and_connections_follow_it(serve: Serve) -> None:
    server = serve(wrapper=with_limit(300, 1000), settings={"workers": 2})
    until(lambda: len(server.events("server.started")) == 2, "the log to say so")
    for started in server.events("server.started"):
        assert (started["descriptors"], started["max_connections"]) == (1000, 744)


@pytest.mark.parametrize("workers", [1, 2])
def test_running_out_of_descriptors_delays_new_connections_and_recovers(serve: Serve, workers: int) -> None:
    settings = {"registry": {"max_connections": 1000}, "workers": workers}
    server = serve(wrapper=with_limit(72, 72), settings=settings)
    repository = server.repository("a/b")
    digest = repository.push_blob(BLOB)
    with ExitStack() as open_ones:
        before = open_ones.enter_context(server.registry.connect())
        before.begin("GET", "/v2/")
        assert before.answer().status == 200
        for _ in range(100 * workers):
            open_ones.enter_context(server.registry.connect())
        until(lambda: len(server.events("connections.delayed")) == workers, "the log to say so")

        # Who is connected is served; what takes a file is to be tried again, and is no defect.
        before.begin("GET", "/v2/")
        assert before.answer().status == 200
        before.begin("GET", repository.path(f"blobs/{digest}"))
        refused = before.answer()
        assert refused.refuses(503, "UNAVAILABLE") and int(refused["Retry-After"]) > 0
        before.begin("POST", repository.path("blobs/uploads/"), {"Content-Length": "0"})
        refused = before.answer()
        assert refused.refuses(503, "UNAVAILABLE") and int(refused["Retry-After"]) > 0

        for method in ("GET", "HEAD", "DELETE", "PATCH", "PUT", "OPTIONS"):
            for path in ("tags/list", "manifests/none", f"referrers/{digest}", "blobs/uploads/x", "x"):
                before.begin(method, repository.path(path), {"Content-Length": "0"})
                answered = before.answer()
                assert answered.status < 500 or int(answered["Retry-After"]) > 0, answered

        # One that waits is served as soon as there is room.
        waiting = Connection(server.registry.host_port)
        waiting.begin("GET", repository.path(f"blobs/{digest}"), {"Connection": "close"})
    with waiting:
        assert waiting.answer().body == BLOB
    assert repository.push_blob(BLOB + b"more")
    assert len(server.events("connections.delayed")) == workers
    assert "Traceback" not in server.log and not server.events("library.logged"), server.log
