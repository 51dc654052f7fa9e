"""Before each kind of upstream: what a namespace takes over is what is there, to the byte, and no more."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.api import contents
from tests.api.contents import artifact
from tests.api.registry import Registry
from tests.e2e.client import Client
from tests.e2e.cosign import sign, verify
from tests.e2e.images import DOCKER, INDEX, NewImage, digest_of, docker_image, index
from tests.e2e.mirrors import KINDS, NAMESPACE, Mirror
from tests.e2e.pullers import blobs
from tests.equipment.absence import require

KIND = "application/vnd.example.thing"
# One that lists what refers to an image, and one where clients keep such a list under a tag.
LISTING = ("moorage", "distribution3")


@pytest.mark.parametrize("kind", KINDS)
def test_of_an_index_one_platform_is_kept_as_it_is_there(
    kind: str, mirror: Callable[..., Mirror], library: str, new_image: NewImage, crane: Client
) -> None:
    mirrored = mirror(kind)
    pair = [new_image(architecture=name) for name in ("arm64", "amd64")]
    tops = {"1": index(*pair), "2": index(*map(docker_image, pair), media_type=DOCKER[INDEX])}
    for tag, top in tops.items():
        mirrored.upstream.wire.push(library, top, tag)

    def pulls(tag: str) -> None:
        arm64, back = tops[tag].images[0], crane.scratch()
        name = mirrored.reference(library, tag)
        crane("pull", "--platform=linux/arm64", "--format=oci", name, back)
        assert blobs(back) == {content.digest for content in arm64.contents}
        assert crane("manifest", name).out.encode() == tops[tag].manifest.data
        for reference, content in ((tag, tops[tag].manifest), (arm64.digest, arm64.manifest)):
            found = mirrored.wire.manifest(f"{NAMESPACE}/{library}", reference)
            assert (found.data, found.media_type) == (content.data, content.media_type)

    for tag in tops:
        pulls(tag)
    for arm64, amd64 in (top.images for top in tops.values()):
        assert all(mirrored.stored(content.digest) for content in arm64.contents)
        others = {content.digest for content in amd64.contents} - {layer.digest for layer in arm64.layers}
        assert [digest for digest in others if mirrored.stored(digest)] == []
    mirrored.upstream.process.kill()
    for tag in tops:
        pulls(tag)
    told = mirrored.wire.ask("GET", f"/v2/{NAMESPACE}/{library}/manifests/1")
    assert told.headers["warning"].startswith("299 - ")
    missing = mirrored.wire.ask("GET", f"/v2/{NAMESPACE}/{library}/manifests/{pair[1].digest}")
    assert (missing.status, missing.json()["errors"][0]["code"]) == (503, "UNAVAILABLE")
    assert int(missing.headers["retry-after"]) > 0


def test_who_pulls_borrows_the_login_for_what_it_was_lent_for_alone(
    mirror: Callable[..., Mirror], library: str, new_image: NewImage
) -> None:
    mirrored = mirror("moorage-tokens")
    secret = library.replace("library/", "secret/")
    for name in (library, secret):
        mirrored.upstream.wire.push(name, new_image(random_bytes=100), "1")
    assert mirrored.wire.status(f"/v2/{NAMESPACE}/{library}/manifests/1") == 200
    assert mirrored.wire.status(f"/v2/{NAMESPACE}/{secret}/manifests/1") == 404
    assert mirrored.wire.status(f"/v2/{secret}/manifests/1?ns=docker.io") == 404


def test_a_tag_that_moves_there_moves_here_and_what_it_named_stays(
    mirror: Callable[..., Mirror], library: str, new_image: NewImage, crane: Client
) -> None:
    mirrored, images = mirror(), [new_image(random_bytes=100) for _ in range(2)]
    for image in images:
        mirrored.upstream.wire.push(library, image, "1")
        assert crane("digest", mirrored.reference(library)).out.strip() == image.digest
        crane("pull", mirrored.reference(library), crane.scratch() / "image.tar")
    mirrored.upstream.process.kill()
    assert crane("digest", mirrored.reference(library)).out.strip() == images[1].digest
    for image in images:
        crane("validate", "--remote", mirrored.reference(library, image.digest))


@pytest.mark.parametrize("kind", LISTING)
def test_what_refers_to_an_image_is_found_and_kept(
    kind: str, mirror: Callable[..., Mirror], library: str, new_image: NewImage
) -> None:
    mirrored, image, here = mirror(kind), new_image(random_bytes=100), f"{NAMESPACE}/{library}"
    mirrored.upstream.wire.push(library, image, "1")
    there = Registry(mirrored.upstream.wire.host_port).repository(library)
    note = there.push(artifact(KIND, image.manifest.descriptor()))
    if kind == "distribution3":
        listed = contents.index([note.descriptor(artifactType=KIND)])
        there.push(listed, image.digest.replace(":", "-"))

    def found() -> list[str]:
        entries = mirrored.wire.referrers(here, image.digest)
        assert {entry["artifactType"] for entry in entries} == {KIND}
        return [entry["digest"] for entry in entries]

    assert found() == [note.digest], "before anything was pulled"
    assert mirrored.wire.whole(here, note.digest) == {note.digest, *map(digest_of, note.blobs)}
    mirrored.wire.whole(here, "1")
    if kind == "distribution3":
        assert mirrored.wire.manifest(here, image.digest.replace(":", "-")).data == listed.data
    mirrored.upstream.process.kill()
    assert found() == [note.digest]
    mirrored.wire.whole(here, note.digest)


@pytest.mark.other_client
@pytest.mark.parametrize("kind", LISTING)
def test_oras_finds_what_refers_to_an_image(
    kind: str, mirror: Callable[..., Mirror], library: str, new_image: NewImage, scratch: Path
) -> None:
    mirrored, image = mirror(kind), new_image(random_bytes=100)
    mirrored.upstream.wire.push(library, image, "1")
    oras = Client(("env", f"--chdir={scratch}", str(require("oras"))), scratch)
    (scratch / "note").write_text(library)
    there = f"{mirrored.upstream.wire.host_port}/{library}:1"
    words = ("--plain-http", f"--artifact-type={KIND}", "--format=json")
    note = json.loads(oras("attach", *words, there, "note:text/plain").out)
    here = mirrored.reference(library)

    def finds() -> None:
        found = json.loads(oras("discover", "--plain-http", "--format=json", here).out)
        assert [referrer["digest"] for referrer in found["referrers"]] == [note["digest"]]
        back = oras.scratch()
        oras("cp", "--recursive", "--from-plain-http", "--to-oci-layout", here, f"{back}:1")
        assert {image.digest, note["digest"]} <= blobs(back)

    finds()
    mirrored.upstream.process.kill()
    finds()


@pytest.mark.other_client
@pytest.mark.parametrize("kind", LISTING)
def test_signatures_are_verified(
    kind: str, mirror: Callable[..., Mirror], library: str, new_image: NewImage, cosign: Client
) -> None:
    mirrored, image = mirror(kind), new_image(random_bytes=100)
    mirrored.upstream.wire.push(library, image, "1")
    sign(cosign, f"{mirrored.upstream.wire.host_port}/{library}@{image.digest}")
    verify(cosign, mirrored.reference(library), image.digest)
    mirrored.upstream.process.kill()
    verify(cosign, mirrored.reference(library), image.digest)
