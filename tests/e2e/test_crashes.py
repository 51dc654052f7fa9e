"""`kill -9` in the middle of pushes and deletes: what was answered is so, and nothing half-made shows."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path

import pytest

from tests.api.contents import Manifest, digest_of, image
from tests.api.registry import Repository
from tests.api.server import Server
from tests.e2e.workers import workers
from tests.soak import rounds

CLIENTS = 4
KILLS = 2


@dataclass(slots=True)
class Known:
    """What a client was told of its repository; of what it was not told, either may be so."""

    manifests: dict[str, Manifest] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    blobs: dict[str, bytes] = field(default_factory=dict)
    tags: dict[str, set[str | None]] = field(default_factory=dict)
    unanswered: dict[str, set[str]] = field(default_factory=lambda: {tag: set() for tag in "abc"})
    sizes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    answers: int = 0


class Client(threading.Thread):
    """Works in a repository of its own until the server is gone, and remembers what it was told."""

    def __init__(self, chance: random.Random, known: Known, repository: Repository) -> None:
        super().__init__()
        self._chance = chance
        self._known = known
        self._repository = repository
        self.problem: AssertionError | None = None

    def run(self) -> None:
        """Until the connection breaks."""
        try:
            while True:
                self._chance.choice(
                    (self._push, self._push, self._delete_tag, self._delete_manifest, self._upload)
                )()
                self._known.answers += 1
        except (OSError, HTTPException):
            return
        except AssertionError as problem:
            self.problem = problem

    def _push(self) -> None:
        made = image([self._chance.randbytes(self._chance.choice((10, 1000, 300_000))) for _ in range(2)])
        for blob in made.blobs:
            self._blob(blob)
        tag = self._chance.choice("abc")
        may_be = self._known.tags.setdefault(tag, {None})
        may_be.add(made.digest)
        self._known.unanswered[tag].add(made.digest)
        assert self._repository.put(made, tag).status == 201
        self._known.unanswered[tag].remove(made.digest)
        self._known.tags[tag] = {made.digest}
        self._known.manifests[made.digest] = made

    def _blob(self, blob: bytes) -> None:
        digest, location = digest_of(blob), self._repository.begin()
        if self._chance.random() < 0.5:
            half = len(blob) // 2
            for piece in (blob[:half], blob[half:]):
                assert self._repository.registry.ask("PATCH", location, body=[piece]).status == 202
            answer = self._repository.close(location, digest)
        else:
            answer = self._repository.close(location, digest, blob)
        assert answer.status == 201
        self._known.blobs[digest] = blob

    def _delete_tag(self) -> None:
        tag = self._chance.choice("abc")
        may_be = self._known.tags.setdefault(tag, {None})
        may_be.add(None)
        assert self._repository.ask("DELETE", f"manifests/{tag}").status in (202, 404)
        self._known.tags[tag] = {None}

    def _delete_manifest(self) -> None:
        if not self._known.manifests:
            return
        digest = self._chance.choice(sorted(self._known.manifests))
        del self._known.manifests[digest]
        for may_be in self._known.tags.values():
            if digest in may_be:
                may_be.add(None)
        assert self._repository.ask("DELETE", f"manifests/{digest}").status == 202
        self._known.deleted.add(digest)
        for may_be in self._known.tags.values():
            may_be.discard(digest)

    def _upload(self) -> None:
        """Begin an upload that is never closed; its pieces add up."""
        location = self._repository.begin()
        size = 0
        for _ in range(3):
            piece = self._chance.randbytes(self._chance.choice((1, 5000, 200_000)))
            self._known.sizes[location] = (size, size + len(piece))
            assert self._repository.registry.ask("PATCH", location, body=piece).status == 202
            size += len(piece)
            self._known.sizes[location] = (size,)


@pytest.fixture
def started() -> Iterator[list[Server]]:
    """Servers that end with the test."""
    started: list[Server] = []
    yield started
    for server in started:
        server.stop()


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_what_was_answered_outlives_kills(started: list[Server], scratch: Path) -> None:
    for seed in rounds(7):
        chance = random.Random(seed)
        known = [Known() for _ in range(CLIENTS)]
        for _ in range(KILLS):
            server = serve(started, scratch, seed)
            clients = [
                Client(random.Random(chance.random()), one, server.repository(f"crash/{number}"))
                for number, one in enumerate(known)
            ]
            enough = sum(one.answers for one in known) + chance.randrange(5, 40)
            for client in clients:
                client.start()
            while sum(one.answers for one in known) < enough and clients[0].is_alive():
                clients[0].join(timeout=0.005)
            kill(server)
            for client in clients:
                client.join()
                assert client.problem is None, client.problem
            check(serve(started, scratch, seed), known)


def serve(started: list[Server], scratch: Path, seed: int) -> Server:
    """A server of two workers on the directory of this round; the one before it ends."""
    for server in started:
        server.stop()
    started.append(Server(scratch / f"root-{seed}", scratch, {"workers": 2}))
    return started[-1]


def kill(server: Server) -> None:
    """End all its processes at once, the parent unable to start another."""
    pids = [server.pid, *workers(server)]
    os.kill(server.pid, signal.SIGSTOP)
    for pid in reversed(pids):
        os.kill(pid, signal.SIGKILL)
    server.kill()


def check(server: Server, known: list[Known]) -> None:
    """Everything is as somebody was told, whole; what nobody was told is there whole or not at all."""
    for number, one in enumerate(known):
        repository = server.repository(f"crash/{number}")
        for digest, blob in one.blobs.items():
            assert repository.ask("GET", f"blobs/{digest}").body == blob
        for digest, made in one.manifests.items():
            assert repository.get(digest).body == made.data
        for digest in one.deleted:
            assert repository.get(digest).status == 404
        for tag, may_be in one.tags.items():
            answer = repository.get(tag)
            found = answer["Docker-Content-Digest"] if answer.status == 200 else None
            # A push that nobody answered may take effect at any later time: its intent outlives its process,
            # and whoever deletes another manifest leaves it the tag.
            assert found in may_be | one.unanswered[tag], (tag, found, may_be)
            assert answer.status in (200, 404)
            one.tags[tag] = {found}
        for location, sizes in one.sizes.items():
            told = repository.registry.ask("GET", location)["Range"]
            assert int(told.removeprefix("0-")) + 1 in sizes
            one.sizes[location] = (int(told.removeprefix("0-")) + 1,)
        if one.manifests:
            # Nothing that a dead process left stands in the way of the same push.
            made = next(iter(one.manifests.values()))
            repository.push(made)
    # Every tag names a manifest that is there, with every blob that it needs, whole.
    assert server.command("storage", "check", "--hash-blobs").code == 0
