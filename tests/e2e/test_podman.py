"""podman: layers compressed while they are sent, and zstd:chunked layers of which it fetches parts."""

from __future__ import annotations

import json
import os

import pytest

from tests.e2e.client import Client
from tests.e2e.containers import Clients
from tests.e2e.images import Image, NewImage, index, write_archive
from tests.e2e.registries import Registry

PLAIN = "--tls-verify=false"


class PodmanSuite:
    """Inherited by one class per version, which overrides the fixture `podman`."""

    @pytest.fixture
    def podman(self) -> Client:
        raise NotImplementedError

    def test_pushes_pulls_and_runs(
        self, podman: Client, registry: Registry, repository: str, new_image: NewImage
    ) -> None:
        image, reference = new_image(), registry.reference(repository)
        load(podman, image, reference)
        digest = push(podman, reference)
        assert registry.wire.manifest(repository, "1").digest == digest
        assert image.config.digest in registry.wire.whole(repository, "1")

        podman("rmi", reference)
        podman("pull", PLAIN, reference)
        [found] = json.loads(podman("image", "inspect", reference).out)
        assert found["Digest"] == digest
        assert runs(podman, reference, image)

    def test_pushing_again_uploads_nothing(
        self, podman: Client, registry: Registry, repository: str, new_image: NewImage
    ) -> None:
        reference = registry.reference(repository)
        load(podman, new_image(), reference)
        digest = push(podman, reference)
        with registry.uploading_nothing():
            assert push(podman, reference) == digest

    def test_pushes_docker_manifests(
        self, podman: Client, registry: Registry, repository: str, new_image: NewImage
    ) -> None:
        image, reference = new_image(), registry.reference(repository)
        load(podman, image, reference)
        podman("push", PLAIN, "--format=v2s2", reference)
        found = registry.wire.manifest(repository, "1")
        assert found.media_type == "application/vnd.docker.distribution.manifest.v2+json"
        assert image.config.digest in registry.wire.whole(repository, "1")

    def test_binds_images_into_an_index(
        self, podman: Client, registry: Registry, repository: str, new_image: NewImage
    ) -> None:
        images = {name: new_image(architecture=name) for name in ("amd64", "arm64")}
        name = f"localhost/both-{os.urandom(4).hex()}:1"
        podman("manifest", "create", name)
        for architecture, image in images.items():
            registry.wire.push(repository, image, architecture)
            podman("manifest", "add", PLAIN, name, f"docker://{registry.reference(repository, architecture)}")
        podman("manifest", "push", "--all", PLAIN, name, f"docker://{registry.reference(repository)}")
        children = registry.wire.manifest(repository, "1").children()
        assert {child["digest"] for child in children} == {image.digest for image in images.values()}
        podman("pull", PLAIN, registry.reference(repository))
        assert runs(podman, registry.reference(repository), images["amd64"])

    def test_lists_tags_and_repositories(
        self, podman: Client, registry: Registry, repository: str, new_image: NewImage
    ) -> None:
        for tag in ("1", "2"):
            registry.wire.push(repository, new_image(random_bytes=100), tag)
        name = f"{registry.host_port}/{repository}"
        assert {"1", "2"} <= set(podman("search", PLAIN, "--list-tags", name).out.split())
        assert (
            repository in podman("search", PLAIN, f"{registry.host_port}/{repository.partition('/')[0]}").out
        )

    def test_pulls_the_platform_it_is_asked_for(
        self, podman: Client, registry: Registry, repository: str, new_image: NewImage
    ) -> None:
        arm64 = new_image(architecture="arm64")
        registry.wire.push(repository, index(new_image(), arm64), "1")
        podman("pull", PLAIN, "--platform=linux/arm64", registry.reference(repository))
        [found] = json.loads(podman("image", "inspect", registry.reference(repository)).out)
        assert found["Architecture"] == "arm64"
        assert found["Id"] == arm64.config.digest.removeprefix("sha256:")


class TestPodman(PodmanSuite):
    """Debian 12's, which opens a connection for every request."""

    @pytest.fixture
    def podman(self, containers: Clients) -> Client:
        return containers("podman")


@pytest.mark.other_client
class TestNewerPodman(PodmanSuite):
    """Debian 13's, which resumes a broken pull and fetches parts of zstd:chunked layers."""

    @pytest.fixture
    def podman(self, newer_containers: Clients) -> Client:
        return newer_containers("podman")

    def test_a_broken_pull_goes_on_where_it_broke(
        self, podman: Client, registry: Registry, repository: str, new_image: NewImage
    ) -> None:
        image = new_image(random_bytes=24 << 20)
        registry.wire.push(repository, image, "1")
        with registry.resuming():
            podman("pull", PLAIN, registry.reference(repository))
        assert runs(podman, registry.reference(repository), image)

    def test_fetches_only_parts_of_a_chunked_layer(
        self, podman: Client, registry: Registry, repository: str, new_image: NewImage
    ) -> None:
        image, reference = new_image(), registry.reference(repository)
        load(podman, image, reference)
        podman("push", PLAIN, "--compression-format=zstd:chunked", "--force-compression", reference)
        registry.wire.whole(repository, "1")
        podman("rmi", reference)
        with registry.tap.watch() as seen:
            podman("pull", PLAIN, reference)
        assert any("range" in request.headers for request in seen), [str(request) for request in seen]
        assert runs(podman, reference, image)


def load(podman: Client, image: Image, reference: str) -> None:
    """Bring an image into podman's storage without a registry."""
    podman("load", "--input", write_archive(image, podman.scratch() / "image.tar", reference))


def push(podman: Client, reference: str) -> str:
    """Push, and return the digest that podman says it pushed."""
    told = podman.scratch() / "digest"
    podman("push", PLAIN, f"--digestfile={told}", reference)
    return told.read_text()


def runs(podman: Client, reference: str, image: Image) -> bool:
    """Whether the image, when it runs, finds the random bytes that we put into it."""
    return podman("run", "--rm", "--network=host", reference).out.split()[0] == image.random_sha256
