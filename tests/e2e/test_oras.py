"""oras: artifacts of any kind, attached to one another and found by the referrers API."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.e2e.client import Client
from tests.e2e.images import NewImage, index, write_layout
from tests.e2e.registries import Registry
from tests.equipment.absence import require

pytestmark = pytest.mark.other_client
PLAIN = "--plain-http"
KIND = "application/vnd.example.thing"


@pytest.fixture
def oras(scratch: Path) -> Client:
    """The oras command, in a home of its own that it also works in, since it takes no absolute paths."""
    return Client(("env", f"--chdir={scratch}", str(require("oras"))), scratch)


def test_pushes_and_pulls_files(oras: Client, registry: Registry, repository: str) -> None:
    source, target = file_of(oras, 300_000), oras.scratch()
    pushed = push(oras, registry, repository, "1", source)
    assert registry.wire.manifest(repository, "1").digest == pushed["digest"]
    assert registry.wire.manifest(repository, "1").fields["artifactType"] == KIND
    registry.wire.whole(repository, "1")
    oras("pull", PLAIN, "--output", target, registry.reference(repository))
    assert (target / source.name).read_bytes() == source.read_bytes()


def test_pushing_again_uploads_nothing(oras: Client, registry: Registry, repository: str) -> None:
    source = file_of(oras, 100_000)
    push(oras, registry, repository, "1", source)
    with registry.uploading_nothing():
        push(oras, registry, repository, "2", source)
    assert sorted(oras("repo", "tags", PLAIN, f"{registry.host_port}/{repository}").out.split()) == ["1", "2"]


def test_copies_all_platforms_from_a_layout(
    oras: Client, registry: Registry, repository: str, new_image: NewImage
) -> None:
    both = index(new_image(), new_image(architecture="arm64"))
    layout = write_layout(both, oras.scratch())
    oras("cp", "--from-oci-layout", "--to-plain-http", f"{layout}:1", registry.reference(repository))
    assert registry.wire.manifest(repository, "1").digest == both.digest
    assert registry.wire.whole(repository, "1") == {content.digest for content in both.contents}
    told = oras(
        "manifest", "fetch", PLAIN, "--descriptor", "--platform=linux/arm64", registry.reference(repository)
    )
    assert json.loads(told.out)["digest"] == both.images[1].digest


def test_attaches_and_discovers(
    oras: Client, registry: Registry, repository: str, new_image: NewImage
) -> None:
    image, reference = new_image(), registry.reference(repository)
    registry.wire.push(repository, image, "1")
    note = file_of(oras, 100)
    kind = f"--artifact-type={KIND}"
    attached = json.loads(oras("attach", PLAIN, kind, "--format=json", reference, note.name).out)
    with registry.tap.watch() as seen:
        found = json.loads(
            oras("discover", PLAIN, "--distribution-spec=v1.1-referrers-api", "--format=json", reference).out
        )
    assert any("/referrers/" in request.target for request in seen)
    assert [referrer["digest"] for referrer in found["referrers"]] == [attached["digest"]]
    assert [referrer["artifactType"] for referrer in registry.wire.referrers(repository, image.digest)] == [
        KIND
    ]
    # No fallback tag: the answer to the push said that the API knows the subject.
    assert registry.wire.tags(repository) == ["1"]


def test_copies_an_image_with_what_refers_to_it(
    oras: Client, registry: Registry, repository: str, new_image: NewImage
) -> None:
    image, copy = new_image(), f"{repository}/copy"
    registry.wire.push(repository, image, "1")
    note = file_of(oras, 100)
    kind = f"--artifact-type={KIND}"
    oras("attach", PLAIN, kind, registry.reference(repository), note.name)
    plain = ("--from-plain-http", "--to-plain-http")
    oras("cp", "--recursive", *plain, registry.reference(repository), registry.reference(copy))
    assert registry.wire.whole(copy, "1") == {content.digest for content in image.contents}
    originals = registry.wire.referrers(repository, image.digest)
    assert registry.wire.referrers(copy, image.digest) == originals
    registry.wire.whole(copy, originals[0]["digest"])


def test_deletes_a_manifest(oras: Client, registry: Registry, repository: str) -> None:
    digest = push(oras, registry, repository, "1", file_of(oras, 100))["digest"]
    oras("manifest", "delete", PLAIN, "--force", registry.reference(repository))
    assert registry.wire.status(f"/v2/{repository}/manifests/{digest}") == 404
    assert registry.wire.status(f"/v2/{repository}/manifests/1") == 404


def push(oras: Client, registry: Registry, repository: str, tag: str, source: Path) -> dict[str, str]:
    """Push one file and return what oras says of the artifact."""
    options = (PLAIN, f"--artifact-type={KIND}", "--format=json")
    # A fixed time of creation makes the same file the same artifact.
    created = "--annotation=org.opencontainers.image.created=2000-01-01T00:00:00Z"
    told = oras("push", *options, created, registry.reference(repository, tag), f"{source.name}:text/plain")
    found = json.loads(told.out)
    assert isinstance(found, dict)
    return found


def file_of(oras: Client, size_bytes: int) -> Path:
    """A new file of random bytes."""
    path = oras.folder / f"{os.urandom(4).hex()}.txt"
    path.write_bytes(os.urandom(size_bytes))
    return path
