"""A server that shares a bucket is killed at a request to the store; its client goes on through another."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Literal

import pytest

from tests.api.client import Answer, Headers
from tests.api.contents import Manifest, digest_of, image
from tests.api.registry import Repository
from tests.api.server import Server
from tests.e2e.buckets import serve
from tests.e2e.ceph import Ceph
from tests.soak import rounds
from tests.storage.buckets import Bucket, client_of
from tests.storage.misbehaving import Proxy, Rule, proxy_of

# Before the request leaves, and before its answer is seen.
MOMENTS: tuple[Literal["drop", "lose"], ...] = ("drop", "lose")
LEAST = 50  # requests to the store that a push of three blobs and a manifest makes
A_FEW = 9  # of all moments, one in so many is tried in `make test`


@dataclass
class Pusher:
    """A client of a server that will be killed, who goes on with the other as docker would."""

    repository: Repository
    other: Repository
    manifest: Manifest

    def push(self) -> None:
        """Everything, to its acknowledged end."""
        for blob in self.manifest.blobs:
            while not self._push_blob(blob):
                pass
        headers = {"Content-Type": self.manifest.media_type}
        answer = self._insist("PUT", "manifests/v1", headers, self.manifest.data)
        assert answer.status == 201, answer

    def _push_blob(self, data: bytes) -> bool:
        """Whether it came to its end; what breaks in the middle of a body is begun anew."""
        begun = self._insist("POST", "blobs/uploads/")
        assert begun.status == 202, begun
        place = begun["Location"].removeprefix(self.repository.path(""))
        sent = self._try("PATCH", place, (), data)
        if sent is None:
            return False
        assert sent.status == 202, sent
        closed = self._insist("PUT", f"{place}?digest={digest_of(data)}")
        assert closed.status in (201, 404), closed
        return closed.status == 201

    def _insist(self, method: str, rest: str, headers: Headers = (), body: bytes | None = None) -> Answer:
        answer = self._try(method, rest, headers, body) or self._try(method, rest, headers, body)
        assert answer is not None, "the other server is gone, too"
        return answer

    def _try(self, method: str, rest: str, headers: Headers, body: bytes | None) -> Answer | None:
        try:
            return self.repository.ask(method, rest, headers, body)
        except (OSError, HTTPException):
            self.repository = self.other
            return None


@pytest.fixture(scope="module")
def bucket(ceph: Ceph) -> Bucket:
    return Bucket(client_of(ceph.endpoint), "registries/kills")


@pytest.fixture(scope="module")
def other(bucket: Bucket, session_folder: Path) -> Iterator[Server]:
    """The server that lives on."""
    started = serve(bucket, session_folder)
    yield started
    started.stop()


@pytest.fixture(scope="module")
def proxy(ceph: Ceph) -> Iterator[Proxy]:
    """What stands between the store and servers that are killed."""
    with proxy_of(ceph.endpoint) as proxy:
        yield proxy


def killed_at(
    number: int, moment: Literal["drop", "lose"], bucket: Bucket, other: Server, proxy: Proxy, folder: Path
) -> bool:
    """Push while a server is killed at its request of that number; whether there were so many."""
    server = serve(bucket, folder, {"storage": {"s3": {"endpoint": proxy.endpoint}}})
    name = f"team/app{os.urandom(4).hex()}"
    manifest = image([b"the same layer for all", os.urandom(64)])
    kill = Rule("", "", moment, before=server.kill, skip=number - 1)
    proxy.rules.append(kill)
    try:
        Pusher(server.repository(name), other.repository(name), manifest).push()
    finally:
        proxy.rules.remove(kill)
        server.kill()
    repository = other.repository(name)
    assert repository.get("v1").body == manifest.data
    for blob in manifest.blobs:
        assert repository.ask("GET", f"blobs/{digest_of(blob)}").body == blob
    assert repository.tags() == ["v1"]
    return not kill.times


def test_at_some_moments(bucket: Bucket, other: Server, proxy: Proxy, scratch: Path) -> None:
    moments = [(number, moment) for number in range(1, LEAST + 1) for moment in MOMENTS][::A_FEW]
    for number, moment in moments:
        assert killed_at(number, moment, bucket, other, proxy, scratch), f"no push has {number} requests"
    assert_whole(other)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_at_any_moment(bucket: Bucket, other: Server, proxy: Proxy, scratch: Path) -> None:
    """By chance; in `make test`, where the others are tried, once."""
    for seed in rounds(0):
        chance = random.Random(seed)
        number, moment = chance.randrange(1, LEAST + 1), chance.choice(MOMENTS)
        assert killed_at(number, moment, bucket, other, proxy, scratch), f"no push has {number} requests"
    assert_whole(other)


def assert_whole(server: Server) -> None:
    """Look through all that was pushed, every byte of it."""
    checked = json.loads(server.command("storage", "check", "--hash-blobs", "--json").out)
    assert checked["problems"] == [] and checked["repositories"]
