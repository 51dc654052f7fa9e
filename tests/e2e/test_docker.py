"""Docker as Debian 12 has it: the classic image store, a connection for every request, uploads in pieces."""

from __future__ import annotations

import pytest

from tests.e2e.docker import Docker
from tests.e2e.docker_suite import DockerSuite, runs
from tests.e2e.images import NewImage
from tests.e2e.registries import Registry


class TestDocker(DockerSuite):
    """The classic daemon."""

    @pytest.fixture
    def daemon(self, docker: Docker) -> Docker:
        return docker

    def test_binds_images_into_a_manifest_list(
        self, daemon: Docker, registry: Registry, repository: str, new_image: NewImage
    ) -> None:
        names = {name: registry.reference(repository, name) for name in ("amd64", "arm64", "list")}
        images = {name: new_image(architecture=name) for name in ("amd64", "arm64")}
        digests = set()
        for name, image in images.items():
            daemon.load(image, names[name])
            digests.add(daemon.push(names[name]))
        daemon("manifest", "create", "--insecure", names["list"], names["amd64"], names["arm64"])
        daemon("manifest", "annotate", "--arch=arm64", names["list"], names["arm64"])
        pushed = daemon("manifest", "push", "--insecure", names["list"]).out.strip()

        found = registry.wire.manifest(repository, "list")
        assert found.digest == pushed
        assert {child["digest"] for child in found.children()} == digests
        daemon("rmi", *(names[name] for name in images))
        daemon("pull", names["list"])
        assert runs(daemon, names["list"], images["amd64"])
