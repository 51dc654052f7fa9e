"""Storage that is full or read-only: a clear error, the old state intact, and then it works again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from registry.store import layout
from tests.api.client import Answer
from tests.api.conftest import Serve
from tests.api.contents import Manifest, digest_of, image, index
from tests.api.registry import Repository
from tests.api.server import Server, configuration, moorage
from tests.api.tree import Tree
from tests.e2e.processes import run
from tests.equipment.absence import unavailable
from tests.equipment.catalogue import Missing

# Mounts a small file system over the directory ($0), fills it from a tree ($1), and goes on as the server.
SMALL = 'mount -t tmpfs -o size=12m tmpfs "$0" && cp -a "$1/." "$0" && shift && exec "$@"'
READ_ONLY = SMALL.replace("shift", 'mount -o remount,ro "$0" && shift')

Writes = dict[str, Callable[[Repository], Answer]]


@pytest.fixture(scope="module")
def namespaces() -> None:
    """Whether this machine lets us mount something that nobody else sees."""
    try:
        code = subprocess.run(
            ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True
        ).returncode
    except OSError:
        code = 1
    if code:
        unavailable(Missing("a mount namespace", "only root may have one", "sudo make test"))


@pytest.fixture
def small(serve: Serve, tmp_path: Path, namespaces: None) -> Callable[..., Server]:
    """Starts a server on a file system of 12 MiB, which begins as a copy of `tree`."""

    def start(tree: Path | None = None, script: str = SMALL) -> Server:
        for folder in (tmp_path / "small", tmp_path / "empty"):
            folder.mkdir(exist_ok=True)
        source = str(tree or tmp_path / "empty")
        return serve(
            tmp_path / "small", None, ["unshare", "-m", "sh", "-c", script, str(tmp_path / "small"), source]
        )

    return start


def inside(server: Server, *command: str) -> str:
    """Run a command where the server's file system is."""
    return run(["nsenter", "-t", str(server.pid), "-m", *command]).out


def fill(server: Server, repository: Repository) -> None:
    """Push until not even a small blob has room."""
    for size in (1 << 20, 1 << 16, 1 << 12, 1):
        while True:
            data = os.urandom(size)
            answer = repository.ask("POST", f"blobs/uploads/?digest={digest_of(data)}", body=data)
            if answer.status != 201:
                assert answer.status == 507, answer
                break


def writes(location: str, made: Manifest) -> Writes:
    """One of each kind of write, all of which would succeed if there were room."""
    data = os.urandom(3000)
    return {
        "begin": lambda repository: repository.ask("POST", "blobs/uploads/"),
        "single POST": lambda repository: repository.ask(
            "POST", f"blobs/uploads/?digest={digest_of(data)}", body=data
        ),
        "PATCH": lambda repository: repository.registry.ask("PATCH", location, body=data),
        "manifest": lambda repository: repository.put(index(), "new"),
        "known manifest, new tag": lambda repository: repository.put(made, "another"),
    }


def test_a_full_disk(small: Callable[..., Server]) -> None:
    server = small()
    repository = server.repository("full")
    made = repository.push(image(), "latest")
    location = repository.begin()
    fill(server, repository)
    for kind, write in writes(location, made).items():
        answer = write(repository)
        assert answer.status == 507, (kind, answer)
        assert answer.codes
        assert "full" in answer.json()["errors"][0]["message"]
    # What was there is as it was.
    assert repository.get("latest").body == made.data
    assert repository.tags() == ["latest"]
    for blob in made.blobs:
        assert repository.ask("GET", f"blobs/{digest_of(blob)}").body == blob
    assert repository.registry.ask("GET", location)["Range"] == "0--1"
    assert server.registry.ask("GET", "/livez").status == 200
    left = ("find", str(server.root), "-name", ".tmp-*", "-not", "-name", ".tmp-notes-*")
    assert inside(server, *left) == ""
    # Room again, and it works again.
    inside(server, "mount", "-o", "remount,size=40m", str(server.root))
    for kind, write in writes(location, made).items():
        assert write(repository).status in (201, 202), kind
    assert repository.get("new").status == 200
    assert repository.get("another").body == made.data


def test_a_disk_that_fills_in_the_middle_of_a_blob(small: Callable[..., Server]) -> None:
    server = small()
    repository = server.repository("full")
    data = os.urandom(20 << 20)
    digest = digest_of(data)
    location = repository.begin()
    assert repository.ask("POST", f"blobs/uploads/?digest={digest}", body=data).status == 507
    assert repository.close(location, digest, data).status == 507
    assert repository.registry.ask("PATCH", location, body=[data]).status == 507
    # Nothing of it takes room.
    assert repository.push_blob(os.urandom(8 << 20))
    assert repository.ask("HEAD", f"blobs/{digest}").status == 404
    inside(server, "mount", "-o", "remount,size=80m", str(server.root))
    assert repository.close(location, digest, data).status == 201
    assert repository.ask("GET", f"blobs/{digest}").body == data


def refuses_writes(repository: Repository, location: str, made: Manifest) -> None:
    """Writes wait, and everything can be read."""
    deletes: Writes = {
        "cancel": lambda repository: repository.registry.ask("DELETE", location),
        "delete a tag": lambda repository: repository.ask("DELETE", "manifests/latest"),
        "delete a manifest": lambda repository: repository.ask("DELETE", f"manifests/{made.digest}"),
    }
    for kind, write in {**writes(location, made), **deletes}.items():
        answer = write(repository)
        assert answer.refuses(503, "UNAVAILABLE"), kind
        assert int(answer["Retry-After"]) > 0
    reads(repository, made)


def reads(repository: Repository, made: Manifest) -> None:
    assert repository.get("latest").body == made.data
    assert repository.tags() == ["latest"]
    assert repository.referrers(made.digest) == []
    for blob in made.blobs:
        assert repository.ask("GET", f"blobs/{digest_of(blob)}").body == blob
    assert repository.registry.ask("GET", "/v2/_catalog").status == 200


def test_a_disk_that_becomes_read_only(small: Callable[..., Server]) -> None:
    server = small()
    repository = server.repository("kept")
    made = repository.push(image(), "latest")
    location = repository.begin()
    inside(server, "mount", "-o", "remount,ro", str(server.root))
    refuses_writes(repository, location, made)
    inside(server, "mount", "-o", "remount,rw", str(server.root))
    assert repository.registry.ask("PATCH", location, body=b"x").status == 202
    assert repository.put(made, "again").status == 201


def test_a_server_on_a_read_only_disk(small: Callable[..., Server], tmp_path: Path) -> None:
    """An archive on a read-only medium, written by Distribution, can be pulled from."""
    tree = Tree(tmp_path / "tree")
    made = image()
    tree.manifest("archive", made, "latest")
    repository = small(tree.root, READ_ONLY).repository("archive")
    reads(repository, made)
    answer = repository.ask("POST", "blobs/uploads/")
    assert answer.refuses(503, "UNAVAILABLE")
    assert answer["Retry-After"]


def test_read_only_in_the_configuration(serve: Serve, tmp_path: Path) -> None:
    first = serve()
    made = first.repository("kept").push(image(), "latest")
    location = first.repository("kept").begin()
    first.stop()
    before = {path: path.stat().st_mtime_ns for path in first.root.rglob("*")}
    repository = serve(settings={"read_only": True}).repository("kept")
    refuses_writes(repository, location, made)
    for method, target in (
        ("PUT", location),
        ("PUT", f"{location}?digest=md5:0"),
        ("POST", repository.path("blobs/uploads/?digest=sha256:x")),
        ("PUT", repository.path("manifests/latest")),
    ):
        # Whatever else is wrong with it, and nothing of the body is waited for.
        with repository.registry.connect() as connection:
            connection.begin(method, target, {"Content-Length": "1000", "Content-Type": "text/html"})
            assert connection.answer().refuses(503, "UNAVAILABLE"), target
    assert {path: path.stat().st_mtime_ns for path in first.root.rglob("*")} == before


def test_read_only_switched_in_the_store(serve: Serve, tmp_path: Path) -> None:
    """Every process sees it soon, without a restart."""
    servers = [serve(), serve()]
    name = "switched"
    made = servers[0].repository(name).push(image(), "latest")
    location = servers[0].repository(name).begin()
    servers[0].command("storage", "read-only", "on")
    for server in servers:
        until_begin_is(server.repository(name), 503)
        refuses_writes(server.repository(name), location, made)
    servers[0].command("storage", "read-only", "off")
    for server in servers:
        until_begin_is(server.repository(name), 202)
        assert server.repository(name).put(made, "again").status == 201


def test_what_a_read_only_start_left_undone_is_done_when_writing_begins(serve: Serve) -> None:
    first = serve()
    first.repository("kept").push(image(), "latest")
    first.stop()
    shutil.rmtree(first.root / layout.OURS)
    (first.root / layout.OURS).mkdir()
    (first.root / layout.READ_ONLY).touch()
    server = serve(first.root)
    answer = server.registry.ask("GET", "/v2/_catalog")
    assert answer["Warning"]
    assert answer.json() == {"repositories": []}
    assert not (first.root / layout.FORMAT).exists()

    server.command("storage", "read-only", "off")
    until_begin_is(server.repository("other"), 202)
    assert (first.root / layout.FORMAT).exists()
    # The tests' own deadline ends what never comes.
    while (answer := server.registry.ask("GET", "/v2/_catalog")).get("Warning"):
        pass
    assert answer.json() == {"repositories": ["kept"]}


def until_begin_is(repository: Repository, status: int) -> None:
    """Ask until it is so; the tests' own deadline ends what never comes."""
    while repository.ask("POST", "blobs/uploads/").status != status:
        pass


def test_a_directory_that_nobody_may_write_is_said_at_start(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("no directory")
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps(configuration(file, {})))
    result = moorage("serve", "--config", str(config), code=None)
    assert result.code != 0
    assert str(file) in result.text
