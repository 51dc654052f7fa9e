"""Workers of one server, and another server, on one directory: any of them may answer any request."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.api.contents import artifact, digest_of, image
from tests.api.registry import closing
from tests.api.server import Server
from tests.e2e.workers import Line, lines, workers
from tests.folders import make_older, unfinished


class Serve(Protocol):
    """Starts a server of so many workers on a directory."""

    def __call__(self, root: Path, workers: int = 2, **settings: Any) -> Server: ...


@pytest.fixture
def serve(scratch: Path) -> Iterator[Serve]:
    """Servers that end with the test."""
    started: list[Server] = []

    def start(root: Path, workers: int = 2, **settings: Any) -> Server:
        started.append(Server(root, scratch, {"workers": workers, **settings}))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    """One server of two workers and one of a single process, on one directory."""
    folder = tmp_path_factory.mktemp("processes")
    settings: Mapping[str, Any] = {"uploads": {"expire_after": "1h", "expire_interval": "1s"}}
    started = [Server(folder / "data", folder, {"workers": number, **settings}) for number in (2, 1)]
    yield started
    for server in started:
        server.stop()


@pytest.fixture
def three(servers: list[Server]) -> list[Line]:
    """The three processes that answer."""
    found = lines(servers)
    assert len({line.pid for line in found}) == 3
    return found


def test_every_step_of_an_upload_on_another_process(three: list[Line], repository: str) -> None:
    data = os.urandom(3000)
    digest = digest_of(data)
    for turn in (three, three[::-1]):
        steps = itertools.cycle(turn)
        location = next(steps).ask("POST", f"/v2/{repository}/blobs/uploads/")["Location"]
        for start in range(0, 3000, 1000):
            assert next(steps).ask("GET", location)["Range"] == f"0-{start - 1}"
            headers = {"Content-Range": f"{start}-{start + 999}"}
            patched = next(steps).ask("PATCH", location, headers, data[start : start + 1000])
            assert patched.status == 202, patched
        behind = next(steps).ask("PATCH", location, {"Content-Range": "2000-2999"}, data[2000:])
        assert (behind.status, behind["Range"]) == (416, "0-2999")
        for _ in range(2):
            assert next(steps).ask("PUT", closing(location, digest)).status == 201
        for line in turn:
            assert line.ask("GET", f"/v2/{repository}/blobs/{digest}").body == data
            assert line.ask("GET", location).refuses(404, "BLOB_UPLOAD_UNKNOWN")
        assert next(steps).ask("DELETE", f"/v2/{repository}/blobs/{digest}").status == 202


def test_each_push_and_delete_counts_in_the_next_request_everywhere(
    three: list[Line], servers: list[Server], repository: str
) -> None:
    pushing = servers[0].repository(repository)
    for deleting in three:
        made = pushing.push(image(), "latest")
        subject = pushing.push(image())
        signature = pushing.push(artifact("application/vnd.example", subject.descriptor()))

        def everywhere(method: str, rest: str) -> list[int]:
            return [line.ask(method, f"/v2/{repository}/{rest}").status for line in three]

        def referring(subject: str = subject.digest) -> list[int]:
            answers = [line.ask("GET", f"/v2/{repository}/referrers/{subject}") for line in three]
            return [len(answer.json()["manifests"]) for answer in answers]

        # From here on each of them has it in memory.
        assert (
            everywhere("GET", "manifests/latest")
            == everywhere("GET", f"manifests/{made.digest}")
            == [200] * 3
        )
        assert referring() == [1] * 3
        assert deleting.ask("DELETE", f"/v2/{repository}/manifests/latest").status == 202
        assert everywhere("GET", "manifests/latest") == [404] * 3
        assert everywhere("GET", f"manifests/{made.digest}") == [200] * 3
        assert deleting.ask("DELETE", f"/v2/{repository}/manifests/{made.digest}").status == 202
        assert everywhere("HEAD", f"manifests/{made.digest}") == [404] * 3
        assert deleting.ask("DELETE", f"/v2/{repository}/manifests/{signature.digest}").status == 202
        assert referring() == [0] * 3
        blob = digest_of(made.blobs[1])
        assert deleting.ask("DELETE", f"/v2/{repository}/blobs/{blob}").status == 202
        assert everywhere("HEAD", f"blobs/{blob}") == [404] * 3


def test_read_only_is_seen_by_every_process(
    three: list[Line], servers: list[Server], repository: str
) -> None:
    made = servers[1].repository(repository).push(image(), "latest")
    location = three[0].ask("POST", f"/v2/{repository}/blobs/uploads/")["Location"]
    servers[1].command("storage", "read-only", "on")
    try:
        for line in three:
            until_a_delete_is(line, repository, 503)
            refused = line.ask("PATCH", location, {}, b"data")
            assert refused.refuses(503, "UNAVAILABLE")
            assert int(refused["Retry-After"]) > 0
            assert line.ask("DELETE", f"/v2/{repository}/manifests/latest").refuses(503, "UNAVAILABLE")
            assert line.ask("GET", f"/v2/{repository}/manifests/latest").body == made.data
    finally:
        servers[1].command("storage", "read-only", "off")
    for line in three:
        until_a_delete_is(line, repository, 404)
        assert line.ask("PATCH", location, {}, b"data").status == 202


def until_a_delete_is(line: Line, repository: str, status: int) -> None:
    """Delete nothing until that is answered so; the tests' own deadline ends what never comes."""
    while line.ask("DELETE", f"/v2/{repository}/manifests/none").status != status:
        pass


def test_idle_sessions_expire_once_with_all_of_them_looking(
    three: list[Line], servers: list[Server], repository: str
) -> None:
    idle, alive = (three[0].ask("POST", f"/v2/{repository}/blobs/uploads/")["Location"] for _ in range(2))
    for location in (idle, alive):
        assert three[1].ask("PATCH", location, {}, b"data").status == 202
    make_older(session_folder(servers[0], idle), seconds=2 * 3600)
    make_older(session_folder(servers[0], alive), seconds=1800)
    while session_folder(servers[0], idle).exists():
        pass
    for line in three:
        assert line.ask("GET", idle).refuses(404, "BLOB_UPLOAD_UNKNOWN")
        assert line.ask("GET", alive)["Range"] == "0-3"
        assert line.ask("PATCH", idle, {}, b"more").refuses(404, "BLOB_UPLOAD_UNKNOWN")
    assert not session_folder(servers[0], idle).exists()


def session_folder(server: Server, location: str) -> Path:
    """Where a session lies."""
    return server.root / "_moorage/v1/uploads" / location.rpartition("/")[2]


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_a_worker_killed_in_the_middle_of_a_body(serve: Serve, scratch: Path, method: str) -> None:
    """Its connections break; everybody else goes on, with the session as it was before that body."""
    server = serve(scratch / "root")
    doomed, other = lines([server])
    data = os.urandom(3 << 20)
    digest = digest_of(data)
    location = doomed.ask("POST", "/v2/a/blobs/uploads/")["Location"]
    begun = 100 if method == "PATCH" else 0
    assert doomed.ask("PATCH", location, {}, data[:begun]).status == 202
    with doomed.connect() as connection:
        target = location if method == "PATCH" else closing(location, digest)
        connection.begin(method, target, {"Content-Length": str(len(data) - begun)})
        connection.send(data[begun : 2 << 20])
        written(server)
        os.kill(doomed.pid, signal.SIGKILL)
        with pytest.raises(ConnectionError):
            connection.answer()
    assert other.ask("GET", location)["Range"] == f"0-{begun - 1}"
    assert other.ask("HEAD", f"/v2/a/blobs/{digest}").status == 404
    rest = {"Content-Range": f"{begun}-{len(data) - 1}"}
    assert other.ask("PATCH", location, rest, data[begun:]).status == 202
    # Another one takes its place, and knows all that it knew.
    while doomed.pid in (found := workers(server)) or len(found) < 2:
        pass
    (new,) = (line for line in lines([server]) if line.pid != other.pid)
    assert new.ask("PUT", closing(location, digest)).status == 201
    for line in (new, other):
        assert line.ask("GET", f"/v2/a/blobs/{digest}").body == data


def test_a_worker_that_finds_its_files_bad_says_so_in_a_line_and_is_tried_until_they_are_good(
    serve: Serve, scratch: Path
) -> None:
    rules = scratch / "access.yaml"
    rules.write_text(GOOD_RULES)
    server = serve(scratch / "root", access={"rules_file": str(rules)})
    while len(serving(server)) < 2:
        pass
    rules.write_text("- {who: nobody}\n")
    os.kill(workers(server)[0], signal.SIGKILL)
    while len(refused := [line for line in server.events("worker.died") if line["code"] == 1]) < 2:
        pass
    assert str(rules) in refused[0]["reason"] and "\n" not in refused[0]["reason"]
    assert refused[1]["restart_seconds"] > refused[0]["restart_seconds"]
    assert not server.events("server.failed"), "what is expected has no traceback"
    assert server.registry.ask("GET", "/v2/").status == 200
    rules.write_text(GOOD_RULES)
    while len(serving(server)) < 2:
        pass


GOOD_RULES = "- {who: anonymous, repositories: ['**'], may: [pull]}\n"


def serving(server: Server) -> set[int]:
    """Those of its processes that have said that they serve."""
    return {line["pid"] for line in server.events("server.started")} & set(workers(server))


def written(server: Server) -> None:
    """Wait until a part of a body lies on the disk: the next moment is the middle of it."""
    while not any(path.stat().st_size for path in unfinished(server.root)):
        pass


def test_workers_asked_to_end_in_the_middle_of_bodies(serve: Serve, scratch: Path) -> None:
    """No temporary file is left, and each session resumes on another server where its status says."""
    server = serve(scratch / "root", grace_seconds=0.2)
    data = os.urandom(3 << 20)
    locations = []
    with contextlib.ExitStack() as connections:
        for line in lines([server]):
            locations.append(line.ask("POST", "/v2/a/blobs/uploads/")["Location"])
            assert line.ask("PATCH", locations[-1], {}, data[:100]).status == 202
            connection = connections.enter_context(line.connect())
            connection.begin("PATCH", locations[-1], {"Content-Length": str(len(data) - 100)})
            connection.send(data[100 : 2 << 20])
        written(server)
        assert server.stop() == 0
    assert not unfinished(server.root)

    registry = serve(server.root).registry
    for location in locations:
        have = int(registry.ask("GET", location)["Range"].removeprefix("0-")) + 1
        assert 100 < have <= 2 << 20
        rest = {"Content-Range": f"{have}-{len(data) - 1}"}
        assert registry.ask("PATCH", location, rest, data[have:]).status == 202
        assert registry.ask("PUT", closing(location, digest_of(data))).status == 201
    assert registry.repository("a").ask("GET", f"blobs/{digest_of(data)}").body == data
