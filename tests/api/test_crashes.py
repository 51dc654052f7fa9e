"""Servers that end in the middle: what was acknowledged is whole, what was not is no obstacle."""

from __future__ import annotations

import os
import random
import threading
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path

from tests.api.conftest import Serve
from tests.api.contents import Manifest, artifact, digest_of, image
from tests.api.registry import Repository
from tests.api.server import Server
from tests.folders import unfinished


@dataclass
class Acknowledged:
    """What clients were told is safe."""

    blobs: dict[tuple[str, str], bytes] = field(default_factory=dict)
    manifests: dict[tuple[str, str], Manifest] = field(default_factory=dict)
    tags: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    referrers: dict[tuple[str, str], str] = field(default_factory=dict)


class Pusher(threading.Thread):
    """Pushes images into a repository of its own until the server is gone."""

    def __init__(
        self,
        repository: Repository,
        chance: random.Random,
        acknowledged: Acknowledged,
        enough: threading.Event,
    ) -> None:
        super().__init__()
        self._repository = repository
        self._random = chance
        self._acknowledged = acknowledged
        self._enough = enough
        self.problem: AssertionError | None = None

    def run(self) -> None:
        try:
            while True:
                self._push()
        except (OSError, HTTPException):
            return  # the server was killed
        except AssertionError as problem:
            self.problem = problem

    def _push(self) -> None:
        name = self._repository.name
        made = image([self._random.randbytes(self._random.choice((10, 1000, 200_000))) for _ in range(3)])
        for blob in made.blobs:
            self._blob(blob)
        tag = self._random.choice(("a", "b", "c"))
        named = self._acknowledged.tags.setdefault((name, tag), [])
        # A push that was cut off may count or not, so the tag may name what was being pushed, too.
        named.append(made.digest)
        assert self._repository.put(made, tag).status == 201
        named[:] = named[-1:]
        self._acknowledged.manifests[name, made.digest] = made
        signature = artifact("application/vnd.example", made.descriptor())
        for blob in signature.blobs:
            self._blob(blob)
        assert self._repository.put(signature).status == 201
        self._acknowledged.referrers[name, made.digest] = signature.digest
        if len(self._acknowledged.manifests) > 5:
            self._enough.set()

    def _blob(self, blob: bytes) -> None:
        digest = digest_of(blob)
        location = self._repository.begin()
        if self._random.random() < 0.5:
            patched = self._repository.registry.ask("PATCH", location, body=[blob[:50], blob[50:]])
            assert patched.status == 202
            answer = self._repository.close(location, digest)
        else:
            answer = self._repository.close(location, digest, blob)
        assert answer.status == 201
        self._acknowledged.blobs[self._repository.name, digest] = blob


def test_killed_in_the_middle_of_many_pushes(serve: Serve, tmp_path: Path) -> None:
    root = tmp_path / "data"
    seed = os.environ.get("SEED") or os.urandom(8).hex()
    print(f"SEED={seed}")
    chance = random.Random(seed)
    acknowledged = Acknowledged()
    for _ in range(5):
        server = serve(root)
        enough = threading.Event()
        pushers = [
            Pusher(server.repository(f"crash/{number}"), random.Random(chance.random()), acknowledged, enough)
            for number in range(4)
        ]
        for pusher in pushers:
            pusher.start()
        enough.wait(60)
        # At some moment of what follows; where exactly is up to chance.
        for _ in range(chance.randrange(30)):
            server.registry.ask("GET", "/v2/")
        server.kill()
        for pusher in pushers:
            pusher.join()
            assert pusher.problem is None, pusher.problem
        check(serve(root), acknowledged)
    assert acknowledged.manifests


def check(server: Server, acknowledged: Acknowledged) -> None:
    """All that was acknowledged is there, whole, and can be pushed again."""
    for (name, digest), blob in acknowledged.blobs.items():
        assert server.repository(name).ask("GET", f"blobs/{digest}").body == blob
    for (name, digest), made in acknowledged.manifests.items():
        assert server.repository(name).get(digest).body == made.data
    for (name, tag), named in acknowledged.tags.items():
        if len(named) == 1 and (name, named[0]) not in acknowledged.manifests:
            continue
        answer = server.repository(name).get(tag)
        assert answer["Docker-Content-Digest"] in named
        assert digest_of(answer.body) == answer["Docker-Content-Digest"]
    for (name, digest), signature in acknowledged.referrers.items():
        assert signature in server.repository(name).referrers(digest)
    name, _ = next(iter(acknowledged.manifests))
    again = server.repository(name).push(image(), "after")
    assert server.repository(name).get("after").body == again.data


def test_a_session_outlives_a_kill(serve: Serve, tmp_path: Path) -> None:
    root = tmp_path / "data"
    first = serve(root)
    location = first.repository("a").begin()
    first.registry.ask("PATCH", location, body=b"12345")
    first.kill()
    repository = serve(root).repository("a")
    status = repository.registry.ask("GET", location)
    assert (status.status, status["Range"]) == (204, "0-4")
    patched = repository.registry.ask("PATCH", location, {"Content-Range": "5-9"}, b"67890")
    assert patched.status == 202
    assert repository.close(location, digest_of(b"1234567890")).status == 201


def test_a_body_that_a_kill_cut_off_is_gone_a_day_later(serve: Serve, tmp_path: Path) -> None:
    """Also beside a blob, where no listing ever comes by, and in a session that went on without it."""
    root = tmp_path / "data"
    data = os.urandom(3 << 20)
    first = serve(root)
    repository = first.repository("a")
    location = repository.begin()
    patch, put = first.registry.connect(), first.registry.connect()
    with patch, put:
        length = {"Content-Length": str(len(data))}
        patch.begin("PATCH", location, length)
        put.begin("PUT", f"{repository.begin()}?digest={digest_of(data)}", length)
        for connection in (patch, put):
            connection.send(data[: 2 << 20])
        while len(unfinished(root)) < 3:
            first.registry.ask("GET", "/v2/")
        first.kill()
    again = serve(root).repository("a")
    assert again.close(location, digest_of(data), data).status == 201
    left = unfinished(root)
    assert len(left) >= 3
    for path in left:
        os.utime(path, (0, 0))
    third = serve(root)
    while any(path.exists() for path in left):
        third.registry.ask("GET", "/v2/")
    assert not list(root.glob("docker/registry/v2/blobs/sha256/*/*/.tmp-*"))
    assert third.repository("a").ask("GET", f"blobs/{digest_of(data)}").body == data


def test_asked_to_end_in_the_middle_of_a_patch(serve: Serve, tmp_path: Path) -> None:
    """No temporary file is left, and the session resumes where the status says."""
    root = tmp_path / "data"
    data = os.urandom(2 << 20)
    first = serve(root, {"grace_seconds": 0.2})
    location = first.repository("a").begin()
    first.registry.ask("PATCH", location, body=data[:100])
    with first.registry.connect() as connection:
        connection.begin("PATCH", location, {"Content-Length": str(len(data) - 100)})
        connection.send(data[100 : 1 << 20])
        while not any(path.stat().st_size for path in unfinished(root)):
            pass
        first.terminate()
        answer = connection.answer()
        assert first.stop() == 0
    assert answer.refuses(503, "UNAVAILABLE")
    assert int(answer["Retry-After"]) > 0
    assert not unfinished(root)
    repository = serve(root).repository("a")
    assert answer["Range"] == repository.registry.ask("GET", location)["Range"]
    # More than the piece before: what had come of the one that was cut off.
    assert resume(repository, location, data) > 100


def test_asked_to_end_a_server_finishes_what_it_has_begun(serve: Serve, tmp_path: Path) -> None:
    data = os.urandom(1 << 20)
    first = serve(tmp_path / "data")
    location = first.repository("a").begin()
    with first.registry.connect() as connection:
        connection.begin("PATCH", location, {"Content-Length": str(len(data))})
        connection.send(data[:1000])
        first.terminate()
        connection.send(data[1000:])
        answer = connection.answer()
        assert (answer.status, answer["Range"]) == (202, f"0-{len(data) - 1}")
    assert first.stop() == 0
    repository = serve(tmp_path / "data").repository("a")
    assert repository.close(location, digest_of(data)).status == 201


def resume(repository: Repository, location: str, data: bytes) -> int:
    """Finish an upload from where the server says that it is, and return where that was."""
    status = repository.registry.ask("GET", location)
    assert status.status == 204
    have = int(status["Range"].removeprefix("0-")) + 1
    assert 100 <= have < len(data)
    headers = {"Content-Range": f"{have}-{len(data) - 1}"}
    assert repository.registry.ask("PATCH", location, headers, data[have:]).status == 202
    assert repository.close(location, digest_of(data)).status == 201
    assert repository.ask("GET", f"blobs/{digest_of(data)}").body == data
    return have
