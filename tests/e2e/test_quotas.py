"""Quotas and usage as people meet them: crane is refused with the numbers, operators see what is used."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.api import contents
from tests.api.registry import Registry
from tests.api.server import Server, moorage
from tests.e2e.client import Client
from tests.e2e.images import Image, NewImage, write_layout

MORE = 100_000  # bytes that are left behind the first image
OPS = re.compile(r"metrics and health: https?://(127\.0\.0\.1:[0-9]+)")


@contextmanager
def serving(scratch: Path, limit: int) -> Iterator[Server]:
    """A server on which `team-a` may hold so much, in two processes that count soon."""
    settings = {
        "workers": 2,
        "quotas": [{"prefix": "team-a", "limit": f"{limit}B"}],
        "usage": {"interval": "1m"},
    }
    server = Server(scratch / "root", scratch, settings)
    try:
        yield server
    finally:
        server.stop()


def total(image: Image) -> int:
    """The bytes of an image and its manifest."""
    return sum(len(content.data) for content in image.contents)


def until(met: Callable[[], bool], server: Server) -> None:
    """Wait for something that comes by itself."""
    deadline = time.monotonic() + 60
    while not met():
        assert time.monotonic() < deadline, server.log
        time.sleep(0.05)


def test_crane_is_refused_with_the_numbers_and_a_delete_makes_room(
    scratch: Path, crane: Client, new_image: NewImage
) -> None:
    first, second = new_image(), new_image()
    with serving(scratch, total(first) + MORE) as server:
        host = server.registry.host_port
        crane("push", write_layout(first, crane.scratch()), f"{host}/team-a/app:1")
        # What is there already takes nothing more, wherever below the prefix.
        crane("copy", f"{host}/team-a/app:1", f"{host}/team-a/other:1")
        crane("tag", f"{host}/team-a/app:1", "again")
        archive = write_layout(second, crane.scratch())
        refused = crane("push", archive, f"{host}/team-a/app:2", code=None)
        told = (
            r"DENIED: the repositories below team-a hold \S+ of the \S+ that they may, which leaves no room"
        )
        assert refused.code != 0 and re.search(told, refused.err), refused.err
        assert crane("ls", f"{host}/team-a/app").out.split() == ["1", "again"]
        # Whoever says how much is to come is refused before it does.
        session = server.repository("team-a/app").begin()
        answer = server.registry.ask("PATCH", session, (), bytes(MORE + 1))
        assert (answer.status, answer.json()["errors"][0]["code"]) == (403, "DENIED")
        assert answer.json()["errors"][0]["detail"] == {
            "prefix": "team-a",
            "limit": total(first) + MORE,
            "used": total(first),
            "needed": MORE + 1,
        }
        # Others are not concerned.
        crane("push", archive, f"{host}/team-b/app:1")
        # The operator sees it, on the machine and from elsewhere.
        here = json.loads(server.command("usage", "show", "team-a", "--json").out)
        assert here["quotas"] == [
            {
                "prefix": "team-a",
                "limit_bytes": total(first) + MORE,
                "used_bytes": total(first),
                "is_counted": here["quotas"][0]["is_counted"],
            }
        ]
        for name in ("app", "other"):
            crane("delete", f"{host}/team-a/{name}@{first.digest}")
        there = ("--server", f"http://{host}")
        until(lambda: "already" not in moorage("usage", "count", *there, code=None).err, server)
        shown = moorage("usage", "show", "team-a", *there).out
        assert re.search(r"^quota of team-a: 0B of \S+ used$", shown, re.MULTILINE), shown
        # None of its blobs is needed now; team-b has all but the second layer of the first image.
        assert re.search(r"^ *(\S+) +\1 +1MiB +\d +2  team-a/$", shown, re.MULTILINE), shown
        crane("push", archive, f"{host}/team-a/app:2")


def test_pushes_at_once_exceed_it_by_no_more_than_what_is_in_flight(scratch: Path) -> None:
    images = [contents.image([os.urandom(10_000)]) for _ in range(24)]
    sizes = [sum(map(len, (one.data, *one.blobs))) for one in images]
    at_once, limit = 4, sum(sizes[:8])
    with serving(scratch, limit) as server:

        def push(at: int) -> int:
            repository = server.repository(f"team-a/app{at % 3}")
            for blob in images[at].blobs:
                answer = repository.ask("POST", f"blobs/uploads/?digest={contents.digest_of(blob)}", (), blob)
                if answer.status != 201:
                    assert answer.refuses(403, "DENIED")
                    return answer.status
            return repository.put(images[at], f"t{at}").status

        with ThreadPoolExecutor(at_once) as threads:
            answers = list(threads.map(push, range(len(images))))
        assert set(answers) == {201, 403}
        pushed = [at for at, status in enumerate(answers) if status == 201]
        tags = [
            server.repository(f"team-a/app{number}").ask("GET", "tags/list").json() for number in range(3)
        ]
        assert sorted(tag for one in tags for tag in one["tags"]) == sorted(f"t{at}" for at in pushed)
        there = ("--server", f"http://{server.registry.host_port}")
        before = json.loads(moorage("usage", "show", "--json", *there).out)["quotas"][0]["used_bytes"]
        until(lambda: "already" not in moorage("usage", "count", *there, code=None).err, server)
        shown = json.loads(moorage("usage", "show", "--json", *there).out)
        exact = sum(sizes[at] for at in pushed)
        assert before == exact == shown["quotas"][0]["used_bytes"]
        assert exact <= limit + at_once * max(sizes)
        assert max(limit - exact, 0) < max(sizes)


def test_servers_count_by_themselves_and_say_so_in_their_metrics(
    scratch: Path, crane: Client, new_image: NewImage
) -> None:
    image = new_image()
    with serving(scratch, 1 << 30) as server:
        crane("push", write_layout(image, crane.scratch()), f"{server.registry.host_port}/team-a/app:1")
        found = OPS.search(server.log)
        assert found is not None
        ops = Registry(found[1])

        def metric(name: str) -> float:
            value = re.search(
                rf"^moorage_{re.escape(name)} (\S+)$", ops.ask("GET", "/metrics").body.decode(), re.MULTILINE
            )
            return float(value[1]) if value else -1.0

        until(lambda: metric('quota_used_bytes{prefix="team-a"}') == total(image), server)
        assert metric('quota_limit_bytes{prefix="team-a"}') == 1 << 30
        assert metric("usage_bytes") == total(image)
        assert server.events("usage.counted")[0]["bytes"] == total(image)
