"""Other registries as tests want them: true ones in a few lines, and whatever lies of it they tell."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from types import MappingProxyType
from typing import Any

from registry.model.digests import Digest
from registry.model.media_types import OCI_IMAGE
from registry.model.names import RepositoryName, Tag
from registry.remote.egress import Egress
from registry.remote.upstream import Endpoint, Upstream
from tests.remote.hosts import Host, Reply, Route, answer, serving

NAME = RepositoryName("team/app")
TAG = Tag("1")
BLOB = bytes(range(256)) * 40
BLOB_DIGEST = Digest.of(BLOB)
MANIFEST = json.dumps({"schemaVersion": 2, "mediaType": OCI_IMAGE, "config": {}, "layers": []}).encode()
MANIFEST_DIGEST = Digest.of(MANIFEST)
BLOB_PATH = f"/v2/{NAME}/blobs/{BLOB_DIGEST}"
TAG_PATH = f"/v2/{NAME}/manifests/{TAG}"
DIGEST_PATH = f"/v2/{NAME}/manifests/{MANIFEST_DIGEST}"
TAGS_PATH = f"/v2/{NAME}/tags/list"
REFERRERS_PATH = f"/v2/{NAME}/referrers/{MANIFEST_DIGEST}"
NONE: Mapping[str, Any] = MappingProxyType({})


@dataclass
class Clock:
    """Goes on when a test says so."""

    seconds: float = 1000.0

    def __call__(self) -> float:
        return self.seconds


@dataclass
class Asked:
    """An upstream, the host behind it, and the clock that it goes by."""

    upstream: Upstream
    host: Host
    clock: Clock = field(default_factory=Clock)

    async def blob(self, start: int = 0) -> bytes:
        """The bytes of a blob from `start` on."""
        async with self.upstream.blob(NAME, BLOB_DIGEST, start) as found:
            assert (found.start, found.size_bytes) == (start, len(BLOB))
            return b"".join([piece async for piece in found.chunks()])


@asynccontextmanager
async def asking(routes: Mapping[str, Route], *, path: str = "", **more: Any) -> AsyncIterator[Asked]:
    """An upstream of a host with these routes; `more` is of the endpoint and of the upstream."""
    own = {key: more.pop(key) for key in ("username", "password", "realms") if key in more}
    clock = Clock()
    async with serving(routes) as host, Egress([ip_network("127.0.0.0/8")]).client() as client:
        endpoint = Endpoint(host.url(path), **own)
        yield Asked(Upstream(client, endpoint, clock=clock, **more), host, clock)


def manifest(content: bytes = MANIFEST, kind: str = OCI_IMAGE, **headers: Any) -> bytes:
    """An answer with a manifest."""
    return answer(content, Content_Type=kind, **headers)


def document(value: object, kind: str = "application/json", **headers: Any) -> bytes:
    """An answer with a JSON document."""
    return answer(json.dumps(value).encode(), Content_Type=kind, **headers)


def failure(status: str, code: str = "UNKNOWN", **headers: Any) -> bytes:
    """An answer with an error document."""
    body = json.dumps({"errors": [{"code": code, "message": "words of its own"}]}).encode()
    return answer(body, status=status, Content_Type="application/json", **headers)


def by_header(name: str, make: Callable[[str | None], bytes]) -> Reply:
    """An answer that depends on one header of the request."""

    def made(head: str) -> bytes:
        for line in head.split("\r\n"):
            told, _, value = line.partition(": ")
            if told.lower() == name:
                return make(value)
        return make(None)

    return Reply(made)


def guarded(allowed: Callable[[str | None], bool], challenge: str, then: bytes) -> Reply:
    """An answer to those whose Authorization is good, and a challenge to the others."""

    def made(told: str | None) -> bytes:
        if allowed(told):
            return then
        return failure("401 Unauthorized", "UNAUTHORIZED", WWW_Authenticate=challenge)

    return by_header("authorization", made)
