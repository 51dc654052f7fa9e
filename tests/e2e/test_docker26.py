"""Docker with containerd's image store, BuildKit and buildx: a blob in one PUT, children by way of tags."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.docker import Docker
from tests.e2e.docker_suite import DockerSuite, runs
from tests.e2e.guarded import Guarded, is_refusal, logged_in
from tests.e2e.images import NewImage, index
from tests.e2e.processes import Result
from tests.e2e.registries import Registry

pytestmark = pytest.mark.other_client
PLATFORMS = "--platform=linux/amd64,linux/arm64"


class TestDocker26(DockerSuite):
    """Debian 13's daemon with the containerd image store."""

    @pytest.fixture
    def daemon(self, docker26: Docker) -> Docker:
        return docker26

    def test_builds_for_several_platforms(
        self, daemon: Docker, registry: Registry, repository: str, new_image: NewImage
    ) -> None:
        base = index(new_image(), new_image(architecture="arm64"))
        registry.wire.push(f"{repository}/base", base, "1")
        build(daemon, registry, repository, PLATFORMS, "--provenance=false")
        children = registry.wire.manifest(repository, "1").children()
        assert [child["platform"]["architecture"] for child in children] == ["amd64", "arm64"]
        contents = registry.wire.whole(repository, "1")
        assert {layer.digest for image in base.images for layer in image.layers} <= contents

        daemon("pull", "--platform=linux/amd64", registry.reference(repository))
        assert runs(daemon, registry.reference(repository), base.images[0])

    def test_pushes_provenance(
        self, daemon: Docker, registry: Registry, repository: str, new_image: NewImage
    ) -> None:
        registry.wire.push(f"{repository}/base", new_image(), "1")
        build(daemon, registry, repository, "--provenance=mode=max")
        image, attestation = registry.wire.manifest(repository, "1").children()
        assert attestation["annotations"]["vnd.docker.reference.digest"] == image["digest"]
        registry.wire.whole(repository, "1")

    def test_keeps_its_cache_in_the_registry(
        self, daemon: Docker, registry: Registry, repository: str, new_image: NewImage
    ) -> None:
        registry.wire.push(f"{repository}/base", new_image(), "1")
        cache = registry.reference(f"{repository}/cache")
        to, since = (
            f"--cache-to=type=registry,ref={cache},mode=max",
            f"--cache-from=type=registry,ref={cache}",
        )
        build(daemon, registry, repository, to)
        # The children of such an index are blobs, not manifests.
        for child in registry.wire.manifest(f"{repository}/cache", "1").children():
            registry.wire.blob(f"{repository}/cache", child["digest"])
        daemon("builder", "prune", "--all", "--force")
        again = build(daemon, registry, repository, since)
        assert "CACHED" in again.text

    def test_builds_from_and_pushes_to_what_is_private(
        self, daemon: Docker, guarded: Guarded, repository: str, new_image: NewImage
    ) -> None:
        own = f"team/{repository}"
        base = index(new_image(), new_image(architecture="arm64"))
        guarded.wire.push(f"{own}/base", base, "1")
        cache = f"--cache-to=type=registry,ref={guarded.reference(f'{own}/cache')},mode=max"
        options = (PLATFORMS, cache)
        assert is_refusal(build(daemon, guarded, own, *options, code=None))
        with logged_in(daemon, guarded, guarded.puller):
            assert is_refusal(build(daemon, guarded, own, *options, code=None))
            assert guarded.digest(own) is None
        # The base is pulled, the image pushed and the cache kept, each under a scope of its own.
        with logged_in(daemon, guarded, guarded.pusher):
            build(daemon, guarded, own, *options)
        layers = {layer.digest for image in base.images for layer in image.layers}
        assert layers <= guarded.wire.whole(own, "1")
        assert guarded.digest(f"{own}/cache")

    def test_imagetools_copies_an_index(
        self, daemon: Docker, registry: Registry, repository: str, new_image: NewImage
    ) -> None:
        both = index(new_image(), new_image(architecture="arm64"))
        registry.wire.push(repository, both, "1")
        copy = f"{repository}/copy"
        tools = ("buildx", "imagetools")
        daemon(*tools, "create", "--tag", registry.reference(copy), registry.reference(repository))
        assert registry.wire.manifest(copy, "1").digest == both.digest
        assert registry.wire.whole(copy, "1") == {content.digest for content in both.contents}
        assert both.digest in daemon(*tools, "inspect", registry.reference(copy)).out


def build(
    daemon: Docker, registry: Registry | Guarded, repository: str, *options: str, code: int | None = 0
) -> Result:
    """Build on the base in the registry, and push by BuildKit itself."""
    context: Path = daemon.scratch()
    lines = [f"FROM {registry.reference(f'{repository}/base')}", "COPY mark /mark"]
    (context / "Dockerfile").write_text("\n".join(lines))
    (context / "mark").write_text(repository)
    name = ("--tag", registry.reference(repository), "--push", "--progress=plain", "--network=none")
    return daemon("buildx", "build", *options, *name, context, code=code)
