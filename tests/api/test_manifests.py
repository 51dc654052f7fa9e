"""Manifests pushed and pulled (dist-spec: Pushing manifests, Pulling manifests)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import pytest

from tests.api import contents
from tests.api.contents import Manifest, descriptor, digest_of, image, index, random_digest
from tests.api.registry import Repository

FOREIGN = [
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
]


def docker_image() -> Manifest:
    return image(
        media_type=contents.DOCKER_IMAGE, config_type="application/vnd.docker.container.image.v1+json"
    )


def old_artifact(media_type: str) -> Manifest:
    blob = os.urandom(30)
    document = {
        "mediaType": media_type,
        "artifactType": "application/vnd.example.sbom",
        "blobs": [descriptor(blob, "application/json")],
    }
    return Manifest(contents.encode(document), media_type, (blob,))


OWN_FIELDS: dict[str, Any] = {"org.example": {"deep": [1, None, {"x": "ü"}]}}
KINDS: dict[str, Callable[[], Manifest]] = {
    "oci image": image,
    "oci index": index,
    "docker image": docker_image,
    "docker list": lambda: index(media_type=contents.DOCKER_LIST, annotations=None),
    "artifact": lambda: contents.artifact("application/vnd.example"),
    "withdrawn oci artifact": lambda: old_artifact(contents.OCI_ARTIFACT),
    "withdrawn oras artifact": lambda: old_artifact(contents.ORAS_ARTIFACT),
    "image without mediaType": lambda: image(mediaType=None),
    "index without mediaType": lambda: index(mediaType=None),
    "image without layers": lambda: image([]),
    "image with null layers": lambda: Manifest(
        (made := image([])).data.replace(b'"layers":[]', b'"layers":null'), made.media_type, made.blobs
    ),
    "image with fields of its own": lambda: image(**OWN_FIELDS),
    "config of an unknown type": lambda: image(config_type="application/vnd.example.never.seen+json"),
}


@pytest.mark.parametrize("by", ["tag", "digest"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_comes_back_to_the_byte(repository: Repository, kind: str, by: str) -> None:
    """trap 13, trap 16: the digest in the 201, and the exact type, without parameters."""
    made = KINDS[kind]()
    for blob in made.blobs:
        repository.push_blob(blob)
    reference = "v1" if by == "tag" else made.digest
    put = repository.put(made, reference)
    assert put.status == 201, put
    assert put["Docker-Content-Digest"] == made.digest
    assert put["Location"].startswith(f"/v2/{repository.name}/manifests/")
    assert put.get("OCI-Tag") is None
    for target in (put["Location"], repository.path(f"manifests/{reference}")):
        for method in ("GET", "HEAD"):
            answer = repository.registry.ask(method, target)
            assert answer.status == 200
            assert answer["Content-Type"] == made.media_type
            assert answer["Content-Length"] == str(len(made.data))
            assert answer["Docker-Content-Digest"] == made.digest
            assert answer["ETag"] == f'"{made.digest}"'
            assert answer.body == (made.data if method == "GET" else b"")


def test_a_pull_by_tag_is_never_cached_and_one_by_digest_always(repository: Repository) -> None:
    made = repository.push(image(), "latest")
    assert repository.get("latest")["Cache-Control"] == "no-cache"
    assert "immutable" in repository.get(made.digest)["Cache-Control"]
    assert repository.get("missing").get("Cache-Control") in (None, "no-cache", "no-store")


def test_bytes_are_kept_as_they_are(repository: Repository) -> None:
    """trap 18"""
    made = image([])
    odd = made.data.replace(
        b'{"schemaVersion":2', b'  {\r\n\t"annotations" : {"\\u00fc":"\\/"},"schemaVersion": 2'
    )
    odd += b"\n\n"
    assert json.loads(odd)
    repository.push_blob(made.blobs[0])
    pushed = repository.push(Manifest(odd, made.media_type), "odd")
    assert repository.get("odd").body == odd
    assert repository.get(pushed.digest).body == odd


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_what_is_missing_is_missing(repository: Repository, method: str) -> None:
    repository.push(image(), "here")
    for reference in ("missing", random_digest(), random_digest("sha512")):
        answer = repository.ask(method, f"manifests/{reference}")
        assert answer.status == 404
        assert answer.get("Docker-Content-Digest") is None
        if method != "HEAD":
            assert answer.codes == ["MANIFEST_UNKNOWN"]


def test_a_repository_that_never_was(other: Repository) -> None:
    assert other.get("latest").codes[0] in ("NAME_UNKNOWN", "MANIFEST_UNKNOWN")
    assert other.get("latest").status == 404


@pytest.mark.parametrize(
    "reference",
    [
        "sha256:baddigeststring",
        "sha256:",
        "sha256:" + "A" * 64,
        "sha256:" + "0" * 63,
        "sha512:" + "0" * 64,
        ":x",
    ],
)
def test_malformed_digests(repository: Repository, reference: str) -> None:
    """trap 5"""
    assert repository.put(image(), reference).refuses(400, "DIGEST_INVALID")
    assert repository.get(reference).refuses(400, "DIGEST_INVALID")
    assert repository.ask("HEAD", f"manifests/{reference}").status == 400
    assert repository.ask("DELETE", f"manifests/{reference}").refuses(400, "DIGEST_INVALID")


def test_a_digest_of_an_unknown_algorithm(repository: Repository) -> None:
    unknown = "md5:d41d8cd98f00b204e9800998ecf8427e"
    assert repository.put(image(), unknown).refuses(400, "DIGEST_INVALID")
    assert repository.get(unknown).status == 404


def test_bytes_that_are_not_those_of_the_digest(repository: Repository) -> None:
    made = repository.push(image())
    spaced = Manifest(made.data + b" ", made.media_type)
    assert repository.put(spaced, made.digest).refuses(400, "DIGEST_INVALID")
    assert repository.get(made.digest).body == made.data


@pytest.mark.parametrize("accept_first", [True, False])
def test_any_of_several_accept_lines_may_name_the_type(repository: Repository, accept_first: bool) -> None:
    """trap 14"""
    made = repository.push(index(), "latest")
    lines = [("Accept", contents.OCI_IMAGE), ("Accept", contents.OCI_INDEX)]
    answer = repository.get("latest", lines if accept_first else lines[::-1])
    assert (answer.status, answer["Content-Type"], answer.body) == (200, contents.OCI_INDEX, made.data)


@pytest.mark.parametrize(
    "accept", [None, "*/*", "application/json", "text/html, image/png", contents.OCI_IMAGE, "", "garbage"]
)
@pytest.mark.parametrize("kind", ["oci index", "docker list", "docker image"])
def test_nothing_is_ever_converted(repository: Repository, kind: str, accept: str | None) -> None:
    """trap 15"""
    made = KINDS[kind]()
    repository.push(made, "latest")
    answer = repository.get("latest", {} if accept is None else {"Accept": accept})
    assert (answer.status, answer["Content-Type"], answer.body) == (200, made.media_type, made.data)


@pytest.mark.parametrize("suffix", ["; charset=utf-8", ";charset=UTF-8", " ; a=b; c=d"])
def test_parameters_on_a_pushed_type_are_dropped(repository: Repository, suffix: str) -> None:
    """trap 17"""
    made = image([])
    repository.push_blob(made.blobs[0])
    put = repository.put(made, "latest", headers={"Content-Type": made.media_type + suffix})
    assert put.status == 201, put
    assert repository.get("latest")["Content-Type"] == made.media_type


@pytest.mark.parametrize("told", [None, "application/json", "application/octet-stream"])
@pytest.mark.parametrize(
    "kind", ["oci image", "oci index", "image without mediaType", "index without mediaType"]
)
def test_a_type_that_nobody_told_is_found_in_the_body(
    repository: Repository, kind: str, told: str | None
) -> None:
    made = KINDS[kind]()
    for blob in made.blobs:
        repository.push_blob(blob)
    put = repository.put(made, "latest", headers={} if told is None else {"Content-Type": told})
    assert put.status == 201, put
    assert repository.get("latest")["Content-Type"] == made.media_type


def test_a_type_that_disagrees_with_the_body(repository: Repository) -> None:
    made = repository.push(image())
    put = repository.put(made, "latest", headers={"Content-Type": contents.DOCKER_IMAGE})
    assert put.refuses(400, "MANIFEST_INVALID")


@pytest.mark.parametrize("told", ["text/html", "application/vnd.example+json", "image/png", "a b"])
def test_a_type_that_is_no_manifest(repository: Repository, told: str) -> None:
    made = image([], mediaType=None)
    repository.push_blob(made.blobs[0])
    assert repository.put(made, "latest", headers={"Content-Type": told}).refuses(400, "MANIFEST_INVALID")


def test_bytes_without_a_type_keep_their_first_one(repository: Repository) -> None:
    made = image([], mediaType=None)
    repository.push(made, "first")
    again = repository.put(made, "second", headers={"Content-Type": contents.DOCKER_IMAGE})
    assert again.status in (201, 400)
    assert repository.get("first")["Content-Type"] == made.media_type
    assert repository.get(made.digest)["Content-Type"] == made.media_type


def test_an_index_of_blobs(repository: Repository) -> None:
    """trap 19"""
    layers = [os.urandom(50) for _ in range(3)]
    config = b'{"layers":[]}'
    for blob in (*layers, config):
        repository.push_blob(blob)
    children = [descriptor(layer, "application/vnd.oci.image.layer.v1.tar+gzip") for layer in layers]
    children.append(descriptor(config, "application/vnd.buildkit.cacheconfig.v0"))
    cache = repository.push(index(children), "buildcache")
    assert repository.get("buildcache").body == cache.data


def test_indexes_may_be_sparse_nested_and_empty(repository: Repository) -> None:
    child = repository.push(image())
    absent = image()
    inner = repository.push(index([child.descriptor(platform={"architecture": "amd64", "os": "linux"})]))
    outer = repository.push(index([inner.descriptor(), absent.descriptor()]), "outer")
    empty = repository.push(index([]), "empty")
    assert repository.get("outer").body == outer.data
    assert repository.get("empty").body == empty.data
    assert repository.get(absent.digest).status == 404


@pytest.mark.parametrize("urls", [None, ["https://127.0.0.1:9/layer"]])
@pytest.mark.parametrize("media_type", FOREIGN)
def test_foreign_layers_may_be_elsewhere(
    repository: Repository, media_type: str, urls: list[str] | None
) -> None:
    """trap 20"""
    layer: dict[str, Any] = descriptor(os.urandom(30), media_type)
    if urls is not None:
        layer["urls"] = urls
    made = repository.push(image([], layers=[layer]), "windows")
    assert repository.get("windows").body == made.data


def test_everything_that_is_missing_is_named_at_once(repository: Repository, other: Repository) -> None:
    present, *absent = (os.urandom(30) for _ in range(4))
    made = image([present, *absent])
    repository.push_blob(present)
    # That another repository has it helps nobody.
    other.push_blob(absent[0])
    put = repository.put(made, "broken")
    assert put.refuses(400, "MANIFEST_BLOB_UNKNOWN")
    named = {entry["detail"]["digest"] for entry in put.json()["errors"]}
    assert set(put.codes) == {"MANIFEST_BLOB_UNKNOWN"}
    assert named == {digest_of(blob) for blob in (made.blobs[0], *absent)}
    assert repository.get("broken").status == 404
    assert repository.get(made.digest).status == 404


def test_a_descriptor_whose_size_is_not_that_of_the_blob(repository: Repository) -> None:
    blob, config = os.urandom(30), b"{}"
    repository.push_blob(blob)
    repository.push_blob(config)
    wrong = descriptor(blob, contents.OCI_LAYER, size=31)
    assert repository.put(image([], config=config, layers=[wrong])).refuses(400, "MANIFEST_INVALID")
    # The blob itself is sound and stays.
    assert repository.ask("GET", f"blobs/{digest_of(blob)}").body == blob


def test_chunked_manifests(repository: Repository) -> None:
    """trap 68"""
    made = image([])
    repository.push_blob(made.blobs[0])
    pieces = [made.data[:5], made.data[5:6], made.data[6:]]
    put = repository.ask("PUT", "manifests/chunked", {"Content-Type": made.media_type}, pieces)
    assert put.status == 201
    assert repository.get("chunked").body == made.data


def test_a_large_manifest(repository: Repository) -> None:
    made = image([], annotations={f"key-{number}": "x" * 1000 for number in range(3900)})
    assert 3_900_000 < len(made.data) < 4 << 20
    repository.push(made, "large")
    assert repository.get("large").body == made.data


@pytest.mark.parametrize(
    "media_type",
    [
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
        "application/json",
        contents.DOCKER_IMAGE,
    ],
)
def test_schema_1(repository: Repository, media_type: str) -> None:
    """trap 69"""
    document = {"schemaVersion": 1, "name": "a", "tag": "b", "fsLayers": [], "history": [], "signatures": []}
    put = repository.put(Manifest(contents.encode(document), media_type), "old")
    assert put.refuses(400, "MANIFEST_INVALID")


@pytest.mark.parametrize("spelling", ['"{}"', "{}", 'W/"{}"', '"sha256:x", "{}"', "*"])
def test_who_holds_it_already_gets_nothing(repository: Repository, spelling: str) -> None:
    """trap 76"""
    made = repository.push(image(), "latest")
    for reference in ("latest", made.digest):
        for method in ("GET", "HEAD"):
            headers = {"If-None-Match": spelling.replace("{}", made.digest)}
            answer = repository.ask(method, f"manifests/{reference}", headers)
            assert (answer.status, answer.body) == (304, b"")
            assert answer["ETag"] == f'"{made.digest}"'
            assert answer["Docker-Content-Digest"] == made.digest


def test_who_holds_something_else_gets_it(repository: Repository) -> None:
    made = repository.push(image(), "latest")
    repository.push(image(), "moved")
    for told in (f'"{random_digest()}"', made.digest[:-1], '""'):
        assert repository.get("latest", {"If-None-Match": told}).body == made.data
    assert repository.get("moved", {"If-None-Match": f'"{made.digest}"'}).status == 200


def test_an_old_digest_outlives_its_tag(repository: Repository) -> None:
    """trap 78"""
    old = repository.push(image(), "latest")
    new = repository.push(image(), "latest")
    assert repository.get("latest").body == new.data
    assert repository.get(old.digest).body == old.data
    for blob in old.blobs:
        assert repository.ask("GET", f"blobs/{digest_of(blob)}").body == blob


def test_a_repeated_push_changes_nothing(repository: Repository) -> None:
    made = repository.push(image(), "latest")
    for reference in ("latest", made.digest, "latest"):
        assert repository.put(made, reference).status == 201
    assert repository.tags() == ["latest"]


def test_tags_that_come_with_a_digest(repository: Repository) -> None:
    """trap 83"""
    made = repository.push(image())
    names = [f"v{number}" for number in range(10)]
    put = repository.put(made, query="?" + "&".join(f"tag={name}" for name in [*names, "v3"]))
    assert put.status == 201
    assert [tag.strip() for tag in put["OCI-Tag"].split(",")] == names
    assert repository.tags() == names
    for name in names:
        assert repository.get(name)["Docker-Content-Digest"] == made.digest


def test_too_many_tags_store_nothing(repository: Repository) -> None:
    """trap 83"""
    made = image([])
    repository.push_blob(made.blobs[0])
    put = repository.put(made, query="?" + "&".join(f"tag=v{number}" for number in range(1000)))
    assert put.status == 414
    assert put.codes
    assert put.get("OCI-Tag") is None
    assert repository.get(made.digest).status == 404
    assert repository.get("v0").status == 404


@pytest.mark.parametrize("bad", ["", "-x", ".x", "a:b", "a%0A", "x" * 129])
def test_one_bad_tag_stores_nothing(repository: Repository, bad: str) -> None:
    made = image([])
    repository.push_blob(made.blobs[0])
    put = repository.put(made, query=f"?tag=good&tag={bad}")
    assert put.refuses(400, "TAG_INVALID")
    assert repository.get("good").status == 404
    assert repository.get(made.digest).status == 404


def test_tags_beside_a_tag_are_not_taken(repository: Repository) -> None:
    made = repository.push(image())
    put = repository.put(made, "by-tag", "?tag=more")
    assert put.status == 201
    assert put.get("OCI-Tag") is None
    assert repository.tags() == ["by-tag"]
