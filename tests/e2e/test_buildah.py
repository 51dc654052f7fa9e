"""buildah: builds, pushes, binds and takes images up again."""

from __future__ import annotations

import json
import os

import pytest

from tests.e2e.client import Client
from tests.e2e.containers import Clients
from tests.e2e.images import NewImage, digest_of, index
from tests.e2e.registries import Registry

PLAIN = "--tls-verify=false"


class BuildahSuite:
    """Inherited by one class per version, which overrides the fixture `buildah`."""

    @pytest.fixture
    def buildah(self, registry: Registry) -> Client:
        raise NotImplementedError

    def test_builds_pushes_and_runs(
        self, buildah: Client, registry: Registry, repository: str, new_image: NewImage
    ) -> None:
        base, reference = new_image(), registry.reference(repository)
        registry.wire.push(f"{repository}/base", base, "1")
        digest = build_and_push(buildah, registry, repository)
        assert registry.wire.manifest(repository, "1").digest == digest
        registry.wire.whole(repository, "1")
        # The layers may be the base's in another compression that buildah knows to be in the registry.
        config = registry.wire.manifest(repository, "1").fields["config"]["digest"]
        contents = json.loads(registry.wire.blob(repository, config))["rootfs"]["diff_ids"]
        assert contents[:-1] == [digest_of(data) for data in base.plain_layers]

        buildah("rmi", reference)
        container = buildah("from", PLAIN, reference).out.strip()
        ran = buildah("run", "--isolation=chroot", container, "/bin/busybox", "cat", "/built")
        assert ran.out == repository + "\n"
        buildah("rm", container)

    def test_pushing_again_uploads_nothing(
        self, buildah: Client, registry: Registry, repository: str, new_image: NewImage
    ) -> None:
        registry.wire.push(f"{repository}/base", new_image(), "1")
        digest = build_and_push(buildah, registry, repository)
        with registry.uploading_nothing():
            assert push(buildah, registry.reference(repository)) == digest

    def test_binds_images_into_an_index(
        self, buildah: Client, registry: Registry, repository: str, new_image: NewImage
    ) -> None:
        images = {name: new_image(architecture=name) for name in ("amd64", "arm64")}
        name = f"localhost/both-{os.urandom(4).hex()}:1"
        buildah("manifest", "create", name)
        for architecture, image in images.items():
            registry.wire.push(repository, image, architecture)
            buildah(
                "manifest", "add", PLAIN, name, f"docker://{registry.reference(repository, architecture)}"
            )
        buildah("manifest", "push", "--all", PLAIN, name, f"docker://{registry.reference(repository)}")
        children = registry.wire.manifest(repository, "1").children()
        assert {child["digest"] for child in children} == {image.digest for image in images.values()}

    def test_pulls_the_platform_it_is_asked_for(
        self, buildah: Client, registry: Registry, repository: str, new_image: NewImage
    ) -> None:
        arm64 = new_image(architecture="arm64")
        registry.wire.push(repository, index(new_image(), arm64), "1")
        pulled = buildah("pull", PLAIN, "--platform=linux/arm64", registry.reference(repository)).out.strip()
        assert pulled == arm64.config.digest.removeprefix("sha256:")


@pytest.mark.other_client
class TestBuildah(BuildahSuite):
    """Debian 12's."""

    @pytest.fixture
    def buildah(self, containers: Clients) -> Client:
        return containers("buildah")


@pytest.mark.other_client
class TestNewerBuildah(BuildahSuite):
    """Debian 13's."""

    @pytest.fixture
    def buildah(self, newer_containers: Clients) -> Client:
        return newer_containers("buildah")


def build_and_push(buildah: Client, registry: Registry, repository: str) -> str:
    """Build an image on the base in the registry, push it, and return the digest that buildah names."""
    context = buildah.scratch()
    lines = [
        f"FROM {registry.reference(f'{repository}/base')}",
        f"RUN /bin/busybox echo {repository} > /built",
    ]
    (context / "Dockerfile").write_text("\n".join(lines))
    buildah("bud", PLAIN, "--isolation=chroot", "--tag", registry.reference(repository), context)
    return push(buildah, registry.reference(repository))


def push(buildah: Client, reference: str) -> str:
    """Push, and return the digest that buildah names."""
    told = buildah.scratch() / "digest"
    buildah("push", PLAIN, f"--digestfile={told}", reference)
    return told.read_text()
