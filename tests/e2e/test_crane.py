"""crane: manifests and blobs one by one, tags, the catalog, and copies of whole indexes."""

from __future__ import annotations

import json

from tests.e2e.client import Client
from tests.e2e.images import NewImage, index, write_archive, write_layout
from tests.e2e.registries import Registry


def test_pushes_and_pulls(crane: Client, registry: Registry, repository: str, new_image: NewImage) -> None:
    image, reference, back = new_image(), registry.reference(repository), crane.scratch()
    crane("push", write_layout(image, crane.scratch()), reference)
    assert crane("digest", reference).out.strip() == image.digest
    assert crane("manifest", reference).out.encode() == image.manifest.data
    assert crane("config", reference).out.encode() == image.config.data
    crane("validate", "--remote", reference)
    assert registry.wire.whole(repository, "1") == {content.digest for content in image.contents}
    crane("pull", "--format=oci", reference, back)
    kept = {f"{path.parent.name}:{path.name}" for path in back.glob("blobs/*/*")}
    assert kept == {content.digest for content in image.contents}


def test_pushing_again_uploads_nothing(
    crane: Client, registry: Registry, repository: str, new_image: NewImage
) -> None:
    archive = write_archive(new_image(), crane.scratch() / "image.tar", registry.reference(repository))
    crane("push", archive, registry.reference(repository))
    with registry.uploading_nothing():
        crane("push", archive, registry.reference(repository))
        crane("push", archive, registry.reference(repository, "2"))
    crane("tag", registry.reference(repository), "3")
    assert sorted(crane("ls", f"{registry.host_port}/{repository}").out.split()) == ["1", "2", "3"]
    assert repository in crane("catalog", registry.host_port).out.split()


def test_copies_all_platforms(
    crane: Client, registry: Registry, repository: str, new_image: NewImage
) -> None:
    both, copy = index(new_image(), new_image(architecture="arm64")), f"{repository}/copy"
    crane("push", "--index", write_layout(both, crane.scratch()), registry.reference(repository))
    top = crane("digest", registry.reference(repository)).out.strip()
    with registry.uploading_nothing():
        crane("copy", registry.reference(repository), registry.reference(copy))
    assert registry.wire.manifest(copy, "1").digest == top
    assert registry.wire.whole(copy, "1") >= {content.digest for content in both.contents}


def test_binds_images_into_an_index(
    crane: Client, registry: Registry, repository: str, new_image: NewImage
) -> None:
    images = {name: new_image(architecture=name) for name in ("amd64", "arm64")}
    for tag, image in images.items():
        registry.wire.push(repository, image, tag)
    parts = [word for tag in images for word in ("--manifest", registry.reference(repository, tag))]
    crane("index", "append", *parts, "--tag", registry.reference(repository))
    found = json.loads(crane("manifest", registry.reference(repository)).out)
    assert {child["digest"] for child in found["manifests"]} == {image.digest for image in images.values()}


def test_deletes(crane: Client, registry: Registry, repository: str, new_image: NewImage) -> None:
    image = new_image()
    registry.wire.push(repository, image, "1")
    crane("delete", registry.reference(repository, image.digest))
    assert registry.wire.status(f"/v2/{repository}/manifests/1") == 404
    assert crane("digest", registry.reference(repository), code=None).code != 0
