"""cosign: signatures beside an image, by tag and by the referrers API."""

from __future__ import annotations

import json

import pytest

from tests.e2e.client import Client
from tests.e2e.images import Image, NewImage
from tests.e2e.mounts import MountSpace
from tests.e2e.registries import Registry

pytestmark = pytest.mark.other_client
PLAIN = ("--allow-http-registry", "--allow-insecure-registry")


@pytest.fixture(scope="session")
def cosign(debian13: MountSpace) -> Client:
    """cosign as Debian 13 has it, with a key pair made for this run and no transparency log."""
    folder = debian13.folder / "cosign"
    folder.mkdir()
    environ = {"COSIGN_PASSWORD": "", "COSIGN_EXPERIMENTAL": "1"}
    client = Client(tuple(debian13.enter("env", f"--chdir={folder}", "/usr/bin/cosign")), folder, environ)
    client("generate-key-pair")
    return client


@pytest.fixture
def image(registry: Registry, repository: str, new_image: NewImage) -> Image:
    """An image that is in the registry already."""
    image = new_image(random_bytes=1000)
    registry.wire.push(repository, image, "1")
    return image


def test_signs_and_verifies(cosign: Client, registry: Registry, repository: str, image: Image) -> None:
    sign(cosign, registry.reference(repository, image.digest))
    verify(cosign, registry.reference(repository), image.digest)
    tag = image.digest.replace(":", "-") + ".sig"
    assert sorted(registry.wire.tags(repository)) == sorted(["1", tag])
    registry.wire.whole(repository, tag)
    with registry.uploading_nothing():
        cosign("tree", "--allow-http-registry", registry.reference(repository))


def test_attests(cosign: Client, registry: Registry, repository: str, image: Image) -> None:
    predicate = cosign.scratch() / "predicate.json"
    predicate.write_text(json.dumps({"repository": repository}))
    options = ("--key=cosign.key", "--tlog-upload=false", "--type=custom", "--yes", *PLAIN)
    cosign("attest", *options, "--predicate", predicate, registry.reference(repository, image.digest))
    registry.wire.whole(repository, image.digest.replace(":", "-") + ".att")
    check = ("--key=cosign.pub", "--insecure-ignore-tlog=true", "--type=custom", *PLAIN)
    cosign("verify-attestation", *check, registry.reference(repository))


def test_signs_as_a_referrer(cosign: Client, registry: Registry, repository: str, image: Image) -> None:
    sign(cosign, registry.reference(repository, image.digest), "--registry-referrers-mode=oci-1-1")
    [signature] = registry.wire.referrers(repository, image.digest)
    assert signature["artifactType"] == "application/vnd.dev.cosign.artifact.sig.v1+json"
    registry.wire.whole(repository, signature["digest"])
    assert registry.wire.tags(repository) == ["1"]


def sign(cosign: Client, reference: str, *options: str) -> None:
    """Sign an image, named by its digest."""
    cosign("sign", "--key=cosign.key", "--tlog-upload=false", "--yes", *PLAIN, *options, reference)


def verify(cosign: Client, reference: str, digest: str) -> None:
    """Verify an image by tag; what was signed must be the digest."""
    told = cosign("verify", "--key=cosign.pub", "--insecure-ignore-tlog=true", *PLAIN, reference).out
    [signed] = json.loads(told)
    assert signed["critical"]["image"]["docker-manifest-digest"] == digest
