"""Pulls that are sent to the store itself: clients follow, and nobody gets there who may not pull."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.api.client import Answer, ask
from tests.api.server import Server
from tests.e2e.buckets import redirects, serve
from tests.e2e.client import Client
from tests.e2e.containers import Clients
from tests.e2e.docker import Docker
from tests.e2e.docker_suite import runs
from tests.e2e.engines import Engine
from tests.e2e.images import Image, NewImage
from tests.e2e.wire import Wire
from tests.equipment.absence import require
from tests.storage.buckets import Bucket, client_of

BLOB = os.urandom(3 << 20)


@pytest.fixture(scope="module")
def bucket(engine: Engine) -> Bucket:
    return Bucket(client_of(engine.endpoint), "registries/redirected")


@pytest.fixture(scope="module")
def server(engine: Engine, bucket: Bucket, session_folder: Path) -> Iterator[Server]:
    """One that sends every pull of a blob to the store."""
    started = serve(bucket, session_folder, redirects(engine))
    yield started
    started.stop()


def follow(answer: Answer, method: str = "GET", headers: dict[str, str] | None = None) -> Answer:
    """What the store says at the address that it was answered with."""
    place = urlsplit(answer["Location"])
    return ask(place.netloc, method, f"{place.path}?{place.query}", headers or {})


def test_the_bytes_come_from_the_store(server: Server, engine: Engine) -> None:
    """trap 75"""
    repository = server.repository("team/blobs")
    digest = repository.push_blob(BLOB)
    sent = repository.ask("GET", f"blobs/{digest}")
    assert (sent.status, sent.body) == (307, b"")
    assert sent["Location"].startswith(engine.endpoint.replace("127.0.0.1", "localhost") + "/")
    assert sent["Cache-Control"] == "no-store" and sent["Docker-Content-Digest"] == digest
    assert follow(sent).body == BLOB
    part = follow(sent, headers={"Range": "bytes=10-19"})
    assert (part.status, part.body) == (206, BLOB[10:20])
    assert follow(sent, "PUT").status == 403, "it is good for reading alone"
    assert "X-Amz-Signature" in sent["Location"] and "Signature" not in server.log


def test_what_is_no_pull_of_a_blob_is_ours(server: Server) -> None:
    """trap 74"""
    repository = server.repository("team/rest")
    digest = repository.push_blob(BLOB)
    head = repository.ask("HEAD", f"blobs/{digest}")
    assert (head.status, head["Content-Length"]) == (200, str(len(BLOB)))
    held = repository.ask("GET", f"blobs/{digest}", {"If-None-Match": f'"{digest}"'})
    assert held.status == 304
    parts = repository.ask("GET", f"blobs/{digest}", {"Range": "bytes=0-3,8-11"})
    assert parts.status == 206 and BLOB[8:12] in parts.body
    missing = repository.ask("GET", f"blobs/sha256:{'0' * 64}")
    assert missing.refuses(404, "BLOB_UNKNOWN")
    elsewhere = server.repository("another").ask("GET", f"blobs/{digest}")
    assert elsewhere.refuses(404, "BLOB_UNKNOWN"), "that the store has it is no right to read it"


def test_a_linked_blob_whose_bytes_are_gone_is_missing_here(server: Server, bucket: Bucket) -> None:
    repository = server.repository("team/gone")
    data = os.urandom(1 << 20)
    digest = repository.push_blob(data)
    encoded = digest.partition(":")[2]
    name = f"docker/registry/v2/blobs/sha256/{encoded[:2]}/{encoded}/data"
    bucket.client.delete_object(Bucket=bucket.name, Key=f"{bucket.prefix}/{name}")
    assert repository.ask("GET", f"blobs/{digest}").refuses(404, "BLOB_UNKNOWN")


@pytest.mark.parametrize("setting", [{"networks": ["10.0.0.0/8"]}, {"smallest": "100MiB"}])
def test_whom_it_is_not_for_gets_the_bytes_from_us(
    engine: Engine, bucket: Bucket, scratch: Path, setting: dict[str, object]
) -> None:
    server = serve(bucket, scratch, redirects(engine, **setting))
    try:
        repository = server.repository("team/small")
        digest = repository.push_blob(BLOB)
        assert repository.ask("GET", f"blobs/{digest}").body == BLOB
    finally:
        server.stop()


class TestClients:
    """Each pulls an image whose blobs are all in the store."""

    @pytest.fixture
    def image(self, server: Server, bucket: Bucket, session_folder: Path, new_image: NewImage) -> Image:
        """One that another server has taken."""
        image = new_image(random_bytes=3 << 20)
        direct = serve(bucket, session_folder)
        try:
            Wire(direct.registry.host_port).push("team/app", image, "1")
        finally:
            direct.stop()
        return image

    @pytest.fixture
    def reference(self, server: Server, image: Image) -> Iterator[str]:
        """The image, of which every blob must have been answered with an address."""
        before = len(self.answers(server))
        yield f"{server.registry.host_port}/team/app:1"
        assert set(self.answers(server)[before:]) == {307}

    def answers(self, server: Server) -> list[int]:
        lines = server.events("http.request")
        return [
            line["status"] for line in lines if "/blobs/sha256:" in line["path"] and line["method"] == "GET"
        ]

    def test_docker(self, docker: Docker, reference: str, image: Image) -> None:
        docker("pull", reference)
        assert runs(docker, reference, image)

    def test_containerd(self, ctr: Client, reference: str) -> None:
        ctr("images", "pull", "--plain-http", reference)

    def test_crane(self, scratch: Path, reference: str) -> None:
        Client((str(require("crane")), "--insecure"), scratch)("validate", "--remote", reference)

    def test_skopeo(self, scratch: Path, reference: str) -> None:
        skopeo = Client((str(require("skopeo")),), scratch)
        skopeo("copy", "--src-tls-verify=false", f"docker://{reference}", f"oci:{skopeo.scratch()}:1")

    @pytest.mark.other_client
    def test_oras(self, scratch: Path, reference: str) -> None:
        oras = Client((str(require("oras")),), scratch)
        oras("copy", "--from-plain-http", "--to-oci-layout", reference, f"{oras.scratch()}:1")

    @pytest.mark.other_client
    def test_podman(self, containers: Clients, reference: str) -> None:
        containers("podman")("pull", "--tls-verify=false", reference)
