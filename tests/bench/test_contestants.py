"""That the servers are compared fairly, and where they keep their storage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bench.connection import Connection
from tests.bench.content import Image
from tests.bench.contestants import Contestant, Distribution, Moorage
from tests.bench.places import PLACES, NoPlace, file_system, place
from tests.bench.processor import family, used_nanoseconds
from tests.bench.pushing import push_image
from tests.equipment.absence import require

LEAST_NANOSECONDS = 10_000  # no server answers in less
REQUESTS = 7  # for two blobs three each, and the manifest


@pytest.mark.e2e
@pytest.mark.parametrize("kind", [Distribution, Moorage])
def test_each_server_writes_one_line_a_request(kind: Callable[..., Contestant], tmp_path: Path) -> None:
    require("distribution")
    log = tmp_path / "lines"
    server = kind(tmp_path / "server", log=log)
    try:
        with Connection(server.host_port) as connection:
            push_image(connection, "bench/lines", Image.new(1))
    finally:
        server.stop()
    lines = [line for line in log.read_text().splitlines() if "/v2/bench/lines" in line]
    assert len(lines) == REQUESTS
    assert "/v2/bench/lines" not in server.errors


@pytest.mark.e2e
def test_all_processes_of_a_server_count(tmp_path: Path) -> None:
    server = Moorage(tmp_path / "server", {"workers": 2})
    try:
        parent, *workers = family(server.pid)
        assert parent == server.pid and len(workers) == 2
        before = used_nanoseconds(parent)
        assert before > sum(used_nanoseconds(worker) for worker in workers) > 0
        with Connection(server.host_port) as connection:
            for _ in range(50):
                connection.ask("GET", "/v2/", 200)
        assert used_nanoseconds(parent) - before > 50 * LEAST_NANOSECONDS
    finally:
        server.stop()


def test_a_place_is_on_the_file_system_that_it_promises() -> None:
    for name in PLACES:
        try:
            assert (place(name, 1).kind == "tmpfs") == (name == "memory")
        except NoPlace as problem:
            assert str(problem).startswith(name)
    assert file_system(Path("/proc/self")) == "proc"


def test_a_place_without_room_says_what_it_needs() -> None:
    with pytest.raises(NoPlace, match="disk: 1024000000 MiB are needed"):
        place("disk", 1_000_000 << 30)
