"""How many requests to the store a request to a registry takes: what ARCHITECTURE.md says of each."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends

from registry.model.media_types import OCI_IMAGE
from registry.model.names import RepositoryName
from registry.store import layout
from tests.api.contents import digest_of
from tests.api.registry import Registry, Repository
from tests.api.server import CHECKOUT, Server
from tests.e2e.buckets import distribution_storage, settings
from tests.e2e.distribution import Distribution
from tests.e2e.processes import POLL_SECONDS
from tests.storage.buckets import Bucket, client_of, emulator
from tests.storage.misbehaving import Proxy, proxy_of

ROW = re.compile(r"^\| ([^|]+) \| (\d+) \| (\d+) \|", re.MULTILINE)
# What a server looks at every few seconds, whoever asks.
BY_ITSELF = (
    "/_moorage/v1/read-only",
    "/_moorage/v1/format",
    "/_moorage/v1/catalog-complete",
    "_moorage%2Fv1%2Fblocked%2F",
    "_moorage%2Fv1%2Freports%2Fusage",
    "/_moorage/v1/reports/usage/",
    "/_moorage/v1/pulls/",
)
REPOSITORIES = 10_000
START_SECONDS = 60


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """In front of an emulated store, counting."""
    with emulator() as store, proxy_of(store) as proxy:
        yield proxy


class Count:
    """What was asked of one registry, and how many requests to the store each took."""

    def __init__(self, proxy: Proxy) -> None:
        self.found: dict[str, int] = {}
        self._proxy = proxy

    def __call__(self, what: str, request: Callable[[], object]) -> None:
        """One request, or several that are counted together."""
        self._proxy.seen.clear()
        request()
        self.found[what] = sum(not any(own in one for own in BY_ITSELF) for one in self._proxy.seen)


def ask_everything(registry: Registry, count: Count, restarted: Callable[[], Registry]) -> None:
    """The requests of the table, in their order but for those that want a new process."""
    repository = registry.repository("team/app")
    small, smaller, large = os.urandom(100_000), os.urandom(90_000), os.urandom(40 << 20)
    count("push of a blob by PATCH and PUT (docker)", lambda: as_docker(repository, small))
    count("the same of 40 MiB", lambda: as_docker(repository, large))
    count("push of a blob in the PUT (containerd)", lambda: repository.push_blob(smaller))
    manifest = manifest_of(small, smaller)
    push = partial(push_manifest, repository, manifest)
    count("push of a manifest of two blobs, the first of a repository", lambda: push("1"))
    count("push of a manifest of two blobs", lambda: push("2"))
    config, layer = os.urandom(2000), os.urandom(100_000)
    image = manifest_of(config, layer)
    count("push of an image, a config and a layer (docker)", lambda: push_image(repository, config, layer))

    def get(rest: str, method: str = "GET") -> None:
        assert repository.ask(method, rest, (("Accept", OCI_IMAGE),)).status == 200

    count("GET of a manifest by tag, warm", lambda: get("manifests/1"))
    count("GET of a manifest by digest, warm", lambda: get(f"manifests/{digest_of(manifest)}"))
    count("GET of a blob", lambda: get(f"blobs/{digest_of(small)}"))
    count("HEAD of a blob", lambda: get(f"blobs/{digest_of(small)}", "HEAD"))
    count("tags, up to a thousand", lambda: get("tags/list"))
    count("a page of the catalog", lambda: registry.ask("GET", "/v2/_catalog"))
    repository = restarted().repository("team/app")
    count("GET of a manifest by tag, cold", lambda: get("manifests/1"))
    count("GET of a manifest by digest, cold", lambda: get(f"manifests/{digest_of(image)}"))


def as_docker(repository: Repository, data: bytes) -> None:
    """A blob in three requests."""
    location = repository.begin()
    answer = repository.registry.ask("PATCH", location, (), data)
    assert answer.status == 202, answer
    assert repository.close(answer["Location"], digest_of(data)).status == 201


def push_image(repository: Repository, *blobs: bytes) -> None:
    """An image of which nothing is there yet: docker looks first."""
    for blob in blobs:
        assert repository.ask("HEAD", f"blobs/{digest_of(blob)}").status == 404
        as_docker(repository, blob)
    push_manifest(repository, manifest_of(*blobs), "3")


def push_manifest(repository: Repository, manifest: bytes, tag: str) -> None:
    """A manifest by its tag."""
    answer = repository.ask("PUT", f"manifests/{tag}", (("Content-Type", OCI_IMAGE),), manifest)
    assert answer.status == 201, answer


def manifest_of(*blobs: bytes) -> bytes:
    """A manifest; the first blob is the config."""
    config, *layers = (
        {"mediaType": "application/x-layer", "digest": digest_of(blob), "size": len(blob)} for blob in blobs
    )
    document = {"schemaVersion": 2, "mediaType": OCI_IMAGE, "config": config, "layers": layers}
    return json.dumps(document).encode()


def started(proxy: Proxy, scratch: Path, written: dict[str, Any]) -> Server:
    """A server that has done what it does once at its start, which ends with these."""
    proxy.seen.clear()
    server = Server(scratch, scratch, written)
    end = time.monotonic() + START_SECONDS
    while not all(any(one in seen for seen in proxy.seen) for one in ("trash%2Fopen", "audit%2F")):
        assert time.monotonic() < end, server.log
        time.sleep(POLL_SECONDS)
    return server


def told(column: int) -> dict[str, int]:
    """What the table says: of ours, or of Distribution."""
    _, _, table = (CHECKOUT / "ARCHITECTURE.md").read_text().partition("| request | to the store |")
    rows = ROW.findall(table.partition("\n\n")[0])
    return {name: int(counts[column]) for name, *counts in rows}


def test_requests_are_as_many_as_is_said(proxy: Proxy, scratch: Path) -> None:
    written = settings(Bucket(client_of(proxy.endpoint)), scratch)
    servers = [started(proxy, scratch, written)]
    count = Count(proxy)

    def restarted() -> Registry:
        servers[0].stop()
        servers.append(started(proxy, scratch, written))
        return servers[-1].registry

    try:
        ask_everything(servers[0].registry, count, restarted)
    finally:
        servers[-1].stop()
    assert count.found == told(0)


def test_distribution_makes_as_many_as_is_said(
    proxy: Proxy, distribution: Callable[..., Distribution]
) -> None:
    """On the same store; with its cache of descriptors, as its own image has it, and bodies through it."""
    storage = distribution_storage(Bucket(client_of(proxy.endpoint)))["storage"]
    more = {
        "storage": {**storage, "redirect": {"disable": True}, "cache": {"blobdescriptor": "inmemory"}},
    }
    count = Count(proxy)

    def start() -> Registry:
        return Registry(distribution(3, Path("/"), more=more).host_port)

    ask_everything(start(), count, start)
    assert count.found == told(1)


def test_a_page_of_a_catalog_of_ten_thousand_takes_three_at_most(proxy: Proxy, scratch: Path) -> None:
    bucket = Bucket(client_of(proxy.endpoint))
    server = started(proxy, scratch, settings(bucket, scratch))
    try:
        names = sorted(f"team-{number % 100}/app-{number}" for number in range(REPOSITORIES))
        store = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
        for name in names:
            store.put_object(bucket.name, layout.catalog_entry(RepositoryName(name)), b"indexed")
        count = Count(proxy)
        listed: list[str] = []
        last = ""
        while len(listed) < REPOSITORIES:

            def page(after: str = last) -> None:
                answer = server.registry.ask("GET", f"/v2/_catalog?n=1000&last={after}")
                listed.extend(answer.json()["repositories"])

            count(f"after {last}", page)
            last = listed[-1]
        assert listed == names
        assert max(count.found.values()) <= 3, count.found
    finally:
        server.stop()
