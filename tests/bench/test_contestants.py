"""That the servers are compared fairly, and where they keep their storage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bench.connection import Connection
from tests.bench.content import Image
from tests.bench.contestants import Contestant, Distribution, Moorage
from tests.bench.places import PLACES, NoPlace, file_system, place
from tests.bench.pushing import push_image
from tests.equipment.absence import require

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
