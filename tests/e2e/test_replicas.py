"""Three servers on one bucket, with nothing between them but a key file: each request may go to another."""

from __future__ import annotations

import base64
import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TypeVar

import pytest

from tests.api.client import Answer
from tests.api.contents import Manifest, digest_of, image
from tests.api.people import Login, add_key, add_user
from tests.api.registry import Repository
from tests.api.server import Server, merged
from tests.e2e.buckets import serve
from tests.e2e.conformance import conform
from tests.e2e.engines import Engine
from tests.e2e.tap import Tap
from tests.e2e.test_conformance import LEAST_PASSES, SPARSE
from tests.storage.buckets import Bucket, client_of

T = TypeVar("T")

RULES = """
- {who: 'group:writers', repositories: ['**'], may: [pull, push, delete, list]}
- {who: anonymous, repositories: ['once/**'], may: [pull, create]}
"""


@pytest.fixture(scope="module")
def servers(engine: Engine, module_folder: Path) -> Iterator[list[Server]]:
    """Three that are configured alike."""
    bucket = Bucket(client_of(engine.endpoint), "registries/replicas")
    (module_folder / "access.yaml").write_text(RULES)
    (module_folder / "seal.key").write_bytes(base64.b64encode(os.urandom(32)))
    (module_folder / "seal.key").chmod(0o600)
    access = {
        "rules_file": str(module_folder / "access.yaml"),
        "seal_key_file": str(module_folder / "seal.key"),
        "seal": None,
        "passwords": {"cost": 10},
    }
    with contextlib.ExitStack() as stack:
        started = []
        for number in range(3):
            own = module_folder / str(number)
            own.mkdir()
            started.append(serve(bucket, own, merged(SPARSE, {"access": access})))
            stack.callback(started[-1].stop)
        yield started


@pytest.fixture(scope="module")
def writer(servers: list[Server]) -> Login:
    """Who may do everything to content."""
    return add_user(servers[0], "writer", ["writers"])


def at_once(*works: Callable[[], T]) -> list[T]:
    """What each of several works comes to that begin together."""
    barrier = threading.Barrier(len(works))
    found: list[T | None] = [None] * len(works)

    def run(number: int, work: Callable[[], T]) -> None:
        barrier.wait()
        found[number] = work()

    threads = [threading.Thread(target=run, args=one) for one in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [one for one in found if one is not None]


def push(repository: Repository, data: bytes, login: Login) -> Answer:
    """A blob in one request."""
    headers = {**login.basic, "Content-Type": "application/octet-stream"}
    return repository.ask("POST", f"blobs/uploads/?digest={digest_of(data)}", headers, data)


def within_ten_seconds(met: Callable[[], bool]) -> None:
    """Wait until something is so, as every process has to see it by then."""
    end = monotonic() + 10
    while not met():
        assert monotonic() < end


def test_they_conform_with_each_request_going_to_another(
    servers: list[Server], writer: Login, scratch: Path
) -> None:
    with Tap(*(server.registry.host_port for server in servers), spread=True) as tap:
        totals = conform(tap.host_port, scratch, writer)
    # An anonymous mount looks only for what this very process linked lately, and may find nothing.
    assert totals.skipped <= 2, totals.unsuccessful
    assert (totals.failed, totals.errors, totals.disabled) == (0, 0, 0), totals.unsuccessful
    assert totals.passed >= LEAST_PASSES - 2


def test_what_one_has_acknowledged_the_next_request_to_another_sees(
    servers: list[Server], writer: Login
) -> None:
    one, other, third = (server.repository("team/seen") for server in servers)
    first, second = image(), image()

    def put(repository: Repository, manifest: Manifest) -> None:
        for blob in manifest.blobs:
            assert push(one, blob, writer).status == 201
        headers = {**writer.basic, "Content-Type": manifest.media_type}
        answer = repository.ask("PUT", "manifests/v1", headers, manifest.data)
        assert answer.status == 201, answer

    put(one, first)
    assert other.ask("GET", "manifests/v1", writer.basic).body == first.data
    put(other, second)
    assert third.ask("GET", "manifests/v1", writer.basic).body == second.data
    assert one.ask("GET", "manifests/v1", writer.basic).body == second.data
    assert third.ask("DELETE", "manifests/v1", writer.basic).status == 202
    for repository in (one, other, third):
        assert repository.ask("GET", "manifests/v1", writer.basic).status == 404


def test_one_blob_through_two_at_once_is_had_by_both(servers: list[Server], writer: Login) -> None:
    data = os.urandom(6 << 20)
    pushes = [partial(push, server.repository("team/both"), data, writer) for server in servers]
    assert [answer.status for answer in at_once(*pushes)] == [201, 201, 201]


def test_a_tag_that_may_only_be_created_has_one_winner(servers: list[Server], writer: Login) -> None:
    manifests = [image() for _ in servers]
    for manifest in manifests:
        for blob in manifest.blobs:
            assert push(servers[0].repository("once/tag"), blob, writer).status == 201

    def put(number: int) -> int:
        repository, manifest = servers[number].repository("once/tag"), manifests[number]
        headers = {"Content-Type": manifest.media_type}
        return repository.ask("PUT", "manifests/v1", headers, manifest.data).status

    statuses = at_once(*(partial(put, number) for number in range(3)))
    # Nobody in particular is told to log in.
    assert sorted(statuses) == [201, 401, 401]
    won = manifests[statuses.index(201)]
    for server in servers:
        assert server.repository("once/tag").ask("GET", "manifests/v1").body == won.data


def test_a_new_account_has_one_winner(servers: list[Server]) -> None:
    def add(server: Server) -> int:
        words = ("user", "add", "racer", "--password-stdin")
        return server.command(*words, code=None, given=os.urandom(12).hex()).code

    assert sorted(at_once(*(partial(add, server) for server in servers))) == [0, 1, 1]


def test_who_loses_the_right_loses_it_everywhere(servers: list[Server]) -> None:
    key = add_key(servers[0], "short", "--repositories", "once/**", "--may", "pull")

    def answers(server: Server, status: int) -> bool:
        return server.registry.ask("GET", "/v2/", key.basic).status == status

    assert all(answers(server, 200) for server in servers)
    servers[1].command("apikey", "revoke", "short", "--yes")
    for server in servers:
        within_ten_seconds(partial(answers, server, 401))


def test_read_only_is_seen_by_all(servers: list[Server], writer: Login) -> None:
    def answers(server: Server, status: int) -> bool:
        return push(server.repository("team/frozen"), os.urandom(8), writer).status == status

    servers[0].command("storage", "read-only", "on")
    try:
        for server in servers:
            within_ten_seconds(partial(answers, server, 503))
    finally:
        servers[2].command("storage", "read-only", "off")
    for server in servers:
        within_ten_seconds(partial(answers, server, 201))
