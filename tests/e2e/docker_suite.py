"""What every docker daemon must be able to do with us; each kind of daemon inherits it."""

from __future__ import annotations

import pytest

from tests.e2e.docker import Docker
from tests.e2e.images import Image, NewImage, index
from tests.e2e.registries import Registry


class DockerSuite:
    """Inherited by one class per daemon, which overrides the fixture `daemon`."""

    @pytest.fixture
    def daemon(self) -> Docker:
        raise NotImplementedError

    def test_pushes_pulls_and_runs(
        self, daemon: Docker, registry: Registry, repository: str, new_image: NewImage
    ) -> None:
        image, reference = new_image(), registry.reference(repository)
        daemon.load(image, reference)
        digest = daemon.push(reference)
        assert registry.wire.manifest(repository, "1").digest == digest
        assert holds(registry, repository, "1", image)

        daemon("rmi", reference)
        daemon("pull", reference)
        assert registry.reference(repository, digest) in daemon.inspect(reference)["RepoDigests"]
        assert runs(daemon, reference, image)

    def test_pushing_again_uploads_nothing(
        self, daemon: Docker, registry: Registry, repository: str, new_image: NewImage
    ) -> None:
        reference = registry.reference(repository)
        daemon.load(new_image(), reference)
        digest = daemon.push(reference)
        with registry.uploading_nothing():
            assert daemon.push(reference) == digest
        daemon("tag", reference, registry.reference(repository, "2"))
        with registry.uploading_nothing():
            assert daemon.push(registry.reference(repository, "2")) == digest
        assert sorted(registry.wire.tags(repository)) == ["1", "2"]

    def test_another_repository_mounts_what_is_here(
        self, daemon: Docker, registry: Registry, repository: str, new_image: NewImage
    ) -> None:
        reference = registry.reference(repository)
        daemon.load(new_image(), reference)
        digest = daemon.push(reference)
        other = registry.reference(f"{repository}/other")
        daemon("tag", reference, other)
        with registry.tap.watch() as seen:
            assert daemon.push(other) == digest
        assert any("mount=" in request.target for request in seen)
        # Layers are mounted; a config, which no other image shares, may come again.
        assert sum(request.body_bytes for request in seen if "/uploads/" in request.target) < 10_000
        assert registry.wire.whole(f"{repository}/other", "1") == registry.wire.whole(repository, "1")

    def test_pulls_by_digest(
        self, daemon: Docker, registry: Registry, repository: str, new_image: NewImage
    ) -> None:
        image = new_image()
        registry.wire.push(repository, image, "1")
        by_digest = registry.reference(repository, image.digest)
        daemon("pull", by_digest)
        assert runs(daemon, by_digest, image)

    def test_pulls_the_platform_it_is_asked_for(
        self, daemon: Docker, registry: Registry, repository: str, new_image: NewImage
    ) -> None:
        amd64, arm64 = new_image(), new_image(architecture="arm64")
        registry.wire.push(repository, index(amd64, arm64), "1")
        reference = registry.reference(repository)
        daemon("pull", "--platform=linux/arm64", reference)
        daemon("pull", "--platform=linux/amd64", reference)
        assert runs(daemon, reference, amd64)
        fetched = {request.target.rpartition("/")[2] for request in registry.tap.requests}
        assert {amd64.layers[-1].digest, arm64.layers[-1].digest} <= fetched

    def test_a_broken_pull_goes_on_where_it_broke(
        self, daemon: Docker, registry: Registry, repository: str, new_image: NewImage
    ) -> None:
        image = new_image(random_bytes=24 << 20)
        registry.wire.push(repository, image, "1")
        with registry.resuming():
            daemon("pull", registry.reference(repository))
        assert runs(daemon, registry.reference(repository), image)


def holds(registry: Registry, repository: str, reference: str, image: Image) -> bool:
    """Whether the registry holds that image: all bytes sound, and its configuration the one we made."""
    registry.wire.whole(repository, reference)
    [config, *_] = registry.wire.manifest(repository, reference).blobs()
    return registry.wire.blob(repository, config["digest"]) == image.config.data


def runs(daemon: Docker, reference: str, image: Image) -> bool:
    """Whether the image, when it runs, finds the random bytes that we put into it."""
    return daemon("run", "--rm", "--network=none", reference).out.split()[0] == image.random_sha256
