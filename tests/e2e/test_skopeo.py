"""skopeo: uploads with a length, pulls by tag, and asks before it mounts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.client import Client
from tests.e2e.containers import Clients
from tests.e2e.images import Image, Index, NewImage, index, write_layout
from tests.e2e.registries import Registry

PUSH = "--dest-tls-verify=false"
PULL = "--src-tls-verify=false"
BOTH = (PUSH, PULL)


class SkopeoSuite:
    """Inherited by one class per version, which overrides the fixture `skopeo`."""

    @pytest.fixture
    def skopeo(self) -> Client:
        raise NotImplementedError

    def test_pushes_inspects_and_pulls(
        self, skopeo: Client, registry: Registry, repository: str, new_image: NewImage
    ) -> None:
        image, there = new_image(), f"docker://{registry.reference(repository)}"
        skopeo("copy", PUSH, layout(skopeo, image), there)
        assert registry.wire.manifest(repository, "1").digest == image.digest
        assert registry.wire.whole(repository, "1") == {content.digest for content in image.contents}

        found = json.loads(skopeo("inspect", "--tls-verify=false", there).out)
        assert found["Digest"] == image.digest
        assert found["Layers"] == [layer.digest for layer in image.layers]
        raw = skopeo("inspect", "--raw", "--tls-verify=false", there).out
        assert raw.encode() == image.manifest.data

        back = skopeo.scratch()
        skopeo("copy", PULL, there, f"oci:{back}:1")
        assert blobs(back) == {content.digest for content in image.contents}

    def test_pushing_again_uploads_nothing(
        self, skopeo: Client, registry: Registry, repository: str, new_image: NewImage
    ) -> None:
        source = layout(skopeo, new_image())
        skopeo("copy", PUSH, source, f"docker://{registry.reference(repository)}")
        with registry.uploading_nothing():
            skopeo("copy", PUSH, source, f"docker://{registry.reference(repository)}")
            skopeo("copy", PUSH, source, f"docker://{registry.reference(repository, '2')}")
        listed = json.loads(
            skopeo(
                "list-tags",
                "--tls-verify=false",
                f"docker://{registry.reference(repository)}".rpartition(":")[0],
            ).out
        )
        assert sorted(listed["Tags"]) == ["1", "2"]

    def test_copies_all_platforms_within_the_registry(
        self, skopeo: Client, registry: Registry, repository: str, new_image: NewImage
    ) -> None:
        both = index(new_image(), new_image(architecture="arm64"))
        registry.wire.push(repository, both, "1")
        copy = f"{repository}/copy"
        skopeo(
            "copy",
            "--all",
            *BOTH,
            f"docker://{registry.reference(repository)}",
            f"docker://{registry.reference(copy)}",
        )
        assert registry.wire.manifest(copy, "1").data == both.manifest.data
        assert registry.wire.whole(copy, "1") == {content.digest for content in both.contents}

    def test_syncs_a_repository_to_a_folder(
        self, skopeo: Client, registry: Registry, repository: str, new_image: NewImage
    ) -> None:
        images = {tag: new_image() for tag in ("1", "2")}
        for tag, image in images.items():
            registry.wire.push(repository, image, tag)
        target = skopeo.scratch()
        source = f"{registry.host_port}/{repository}"
        skopeo("sync", "--src=docker", "--dest=dir", PULL, source, target)
        manifests = {path.read_bytes() for path in target.rglob("manifest.json")}
        assert manifests == {image.manifest.data for image in images.values()}

    def test_deletes(self, skopeo: Client, registry: Registry, repository: str, new_image: NewImage) -> None:
        image, there = new_image(), f"docker://{registry.reference(repository)}"
        registry.wire.push(repository, image, "1")
        skopeo("delete", "--tls-verify=false", there)
        assert registry.wire.status(f"/v2/{repository}/manifests/1") == 404
        assert registry.wire.status(f"/v2/{repository}/manifests/{image.digest}") == 404
        assert skopeo("inspect", "--tls-verify=false", there, code=None).code != 0


class TestSkopeo(SkopeoSuite):
    """Debian 12's, which opens a connection for every request and gives up on a broken pull."""

    @pytest.fixture
    def skopeo(self, containers: Clients) -> Client:
        return containers("skopeo")


@pytest.mark.other_client
class TestNewerSkopeo(SkopeoSuite):
    """Debian 13's, which keeps its connections and resumes a broken pull."""

    @pytest.fixture
    def skopeo(self, newer_containers: Clients) -> Client:
        return newer_containers("skopeo")

    def test_a_broken_pull_goes_on_where_it_broke(
        self, skopeo: Client, registry: Registry, repository: str, new_image: NewImage
    ) -> None:
        image, back = new_image(random_bytes=24 << 20), skopeo.scratch()
        registry.wire.push(repository, image, "1")
        with registry.resuming():
            skopeo("copy", PULL, f"docker://{registry.reference(repository)}", f"oci:{back}:1")
        assert blobs(back) == {content.digest for content in image.contents}


def layout(skopeo: Client, top: Image | Index) -> str:
    """An image in a new OCI layout, as skopeo names it."""
    return f"oci:{write_layout(top, skopeo.scratch())}:1"


def blobs(folder: Path) -> set[str]:
    """The digests in an OCI layout."""
    return {f"{path.parent.name}:{path.name}" for path in folder.glob("blobs/*/*")}
