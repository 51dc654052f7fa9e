"""containerd: never asks /v2/, uploads each blob in one PUT, resumes, and mounts with an unencoded digest."""

from __future__ import annotations

import os

from tests.e2e.client import Client
from tests.e2e.containerd import pulled
from tests.e2e.images import Image, NewImage, index, write_archive
from tests.e2e.registries import Registry

PLAIN = "--plain-http"


def test_pushes_pulls_and_runs(ctr: Client, registry: Registry, repository: str, new_image: NewImage) -> None:
    image, reference = new_image(), registry.reference(repository)
    ctr("images", "import", write_archive(image, ctr.scratch() / "image.tar", reference))
    digest = pulled(ctr, reference)
    ctr("images", "push", PLAIN, reference)
    assert registry.wire.manifest(repository, "1").digest == digest
    assert image.config.digest in registry.wire.whole(repository, "1")

    forget(ctr, reference)
    with registry.tap.watch() as seen:
        ctr("images", "pull", PLAIN, reference)
    assert any("/blobs/" in request.target for request in seen)
    assert pulled(ctr, reference) == digest
    assert runs(ctr, reference, image)


def test_pushing_again_uploads_nothing(
    ctr: Client, registry: Registry, repository: str, new_image: NewImage
) -> None:
    image, reference = new_image(), registry.reference(repository)
    registry.wire.push(repository, image, "1")
    ctr("images", "pull", PLAIN, reference)
    with registry.uploading_nothing():
        ctr("images", "push", PLAIN, reference)
        ctr("images", "push", PLAIN, registry.reference(repository, "2"), reference)
    assert sorted(registry.wire.tags(repository)) == ["1", "2"]
    assert registry.wire.manifest(repository, "2").digest == image.digest


def test_another_repository_mounts_what_is_here(
    ctr: Client, registry: Registry, repository: str, new_image: NewImage
) -> None:
    image, reference = new_image(), registry.reference(repository)
    registry.wire.push(repository, image, "1")
    ctr("images", "pull", PLAIN, reference)
    other = registry.reference(f"{repository}/other")
    with registry.tap.watch() as seen:
        ctr("images", "push", PLAIN, other, reference)
    assert any("mount=" in request.target for request in seen)
    assert not sum(request.body_bytes for request in seen if "/blobs/uploads/" in request.target)
    assert registry.wire.whole(f"{repository}/other", "1") == {content.digest for content in image.contents}


def test_moves_all_platforms(ctr: Client, registry: Registry, repository: str, new_image: NewImage) -> None:
    both, reference = index(new_image(), new_image(architecture="arm64")), registry.reference(repository)
    registry.wire.push(repository, both, "1")
    ctr("images", "pull", PLAIN, "--all-platforms", reference)
    assert pulled(ctr, reference) == both.digest
    copy = f"{repository}/copy"
    ctr("images", "push", PLAIN, registry.reference(copy), reference)
    assert registry.wire.manifest(copy, "1").digest == both.digest
    assert registry.wire.whole(copy, "1") == {content.digest for content in both.contents}


def test_a_broken_pull_goes_on_where_it_broke(
    ctr: Client, registry: Registry, repository: str, new_image: NewImage
) -> None:
    image, reference = new_image(random_bytes=24 << 20), registry.reference(repository)
    registry.wire.push(repository, image, "1")
    with registry.resuming():
        ctr("images", "pull", PLAIN, reference)
    assert runs(ctr, reference, image)


def forget(ctr: Client, reference: str) -> None:
    """Remove an image and wait until its contents are gone."""
    ctr("images", "rm", "--sync", reference)


def runs(ctr: Client, reference: str, image: Image) -> bool:
    """Whether the image, when it runs, finds the random bytes that we put into it."""
    name = "t" + os.urandom(4).hex()
    return ctr("run", "--rm", "--net-host", reference, name).out.split()[0] == image.random_sha256
