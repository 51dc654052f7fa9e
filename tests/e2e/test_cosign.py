"""cosign: signatures beside an image, by tag and by the referrers API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.people import Login
from tests.api.server import Server
from tests.e2e.client import Client
from tests.e2e.cosign import PLAIN, sign, verify
from tests.e2e.guarded import Guarded, is_refusal
from tests.e2e.images import Image, NewImage, index
from tests.e2e.processes import Result
from tests.e2e.registries import Registry, is_upload
from tests.e2e.wire import Wire

pytestmark = pytest.mark.other_client


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
    [signature] = registry.wire.manifest(repository, tag).fields["layers"]
    tree = cosign("tree", "--allow-http-registry", registry.reference(repository)).out
    assert registry.reference(repository, tag) in tree
    assert signature["digest"] in tree


@pytest.fixture
def elsewhere(scratch: Path) -> Iterator[Wire]:
    """Another registry, from which nothing can be mounted."""
    server = Server(scratch / "data", scratch)
    yield Wire(server.registry.host_port)
    server.stop()


def test_signs_and_copies_all_platforms_and_uploads_nothing_twice(
    cosign: Client, registry: Registry, elsewhere: Wire, repository: str, new_image: NewImage
) -> None:
    images = [new_image(random_bytes=1000, architecture=name) for name in ("amd64", "arm64")]
    both = index(*images)
    elsewhere.push(repository, both, "1")
    source = f"{elsewhere.host_port}/{repository}"
    sign(cosign, f"{source}@{both.digest}", "--recursive")
    signed = [both.digest, *(image.digest for image in images)]
    signatures = [digest.replace(":", "-") + ".sig" for digest in signed]
    assert sorted(elsewhere.tags(repository)) == sorted(["1", *signatures])
    with registry.tap.watch() as seen:
        cosign("copy", *PLAIN, f"{source}:1", registry.reference(repository))
    assert any(is_upload(request) and request.body_bytes for request in seen)
    # It also tags what it signed, each by its digest.
    assert {"1", *signatures} <= set(registry.wire.tags(repository))
    assert registry.wire.whole(repository, "1") == {content.digest for content in both.contents}
    for digest, tag in zip(signed, signatures, strict=True):
        assert registry.wire.manifest(repository, tag).digest == elsewhere.manifest(repository, tag).digest
        verify(cosign, registry.reference(repository, digest), digest)
    with registry.uploading_nothing():
        cosign("copy", *PLAIN, "--force", f"{source}:1", registry.reference(repository))
    assert registry.wire.manifest(repository, "1").digest == both.digest


def test_takes_signatures_away(cosign: Client, registry: Registry, repository: str, image: Image) -> None:
    tag = image.digest.replace(":", "-") + ".sig"
    sign(cosign, registry.reference(repository, image.digest))
    assert registry.wire.status(f"/v2/{repository}/manifests/{tag}") == 200
    cosign("clean", "--force", *PLAIN, registry.reference(repository, image.digest))
    assert registry.wire.status(f"/v2/{repository}/manifests/{tag}") == 404
    assert registry.wire.tags(repository) == ["1"]
    registry.wire.whole(repository, "1")


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


def test_signs_and_verifies_what_is_private(
    cosign: Client, guarded: Guarded, repository: str, new_image: NewImage
) -> None:
    own, image = f"team/{repository}", new_image(random_bytes=1000)
    guarded.wire.push(own, image, "1")
    reference = f"{guarded.host_port}/{own}@{image.digest}"

    def as_somebody(login: Login | None, *arguments: object) -> Result:
        named = ("--registry-username", login.name, "--registry-password", login.password) if login else ()
        return cosign(*arguments, *PLAIN, *named, reference, code=None)

    signing = ("sign", "--key=cosign.key", "--tlog-upload=false", "--yes")
    verifying = ("verify", "--key=cosign.pub", "--insecure-ignore-tlog=true")
    for login in (None, guarded.puller):
        assert is_refusal(as_somebody(login, *signing))
    assert as_somebody(guarded.pusher, *signing).code == 0
    guarded.wire.whole(own, image.digest.replace(":", "-") + ".sig")
    assert is_refusal(as_somebody(None, *verifying))
    told = as_somebody(guarded.puller, *verifying)
    assert told.code == 0, told
    [signed] = json.loads(told.out)
    assert signed["critical"]["image"]["docker-manifest-digest"] == image.digest
