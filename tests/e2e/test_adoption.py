"""A tree of CNCF Distribution's, whole and broken by hand: adopted, served, and left again."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.api.contents import OCI_ARTIFACT, Manifest, digest_of, encode, image
from tests.api.registry import Registry
from tests.api.server import Server, moorage
from tests.api.tree import Tree
from tests.e2e.buckets import distribution_storage, serve, settings
from tests.e2e.distribution import Distribution
from tests.e2e.test_distribution_trees import ACCEPT, catalog_of, complete_catalog, write_with_distribution
from tests.e2e.versity import versity
from tests.equipment.absence import require
from tests.storage.buckets import Bucket, client_of

Distributions = Callable[..., Distribution]
THEIRS = "docker/registry/v2"

# How what of an image in its own repository is broken, and what is told of its tag then.
BROKEN = {
    "empty-tag": "its link cannot be read",
    "empty-layer-link": "its link cannot be read",
    "broken-manifest-link": "its link cannot be read",
    "missing-blob": "the bytes are missing",
    "truncated-blob": "bytes and not",
    "missing-manifest": "the bytes are missing",
    "truncated-manifest": "do not have the digest",
    "tag-of-nothing": "which is not here",
    "no-layers": "this repository does not have it",
}


class Place:
    """The directory or bucket that Distribution has written, seen past everybody."""

    def __init__(self, get: Callable[[str], bytes], put: Callable[[str, bytes | None], None]) -> None:
        self.get = get
        self.put = put


def break_all(place: Place, broken: Mapping[str, Manifest]) -> None:
    """Do to each what its name says."""
    for kind, made in broken.items():
        repository = f"{THEIRS}/repositories/broken/{kind}"
        tag = f"{repository}/_manifests/tags/v1/current/link"
        revision = f"{repository}/_manifests/revisions/{made.digest.replace(':', '/')}/link"
        layer = digest_of(made.blobs[-1])
        data, manifest = data_of(layer), data_of(made.digest)
        links = [f"{repository}/_layers/{digest_of(blob).replace(':', '/')}/link" for blob in made.blobs]
        if kind == "empty-tag":
            place.put(tag, b"")
        elif kind == "empty-layer-link":
            place.put(links[-1], b"")
        elif kind == "broken-manifest-link":
            place.put(revision, place.get(revision)[:40])
        elif kind == "missing-blob":
            place.put(data, None)
        elif kind == "truncated-blob":
            place.put(data, place.get(data)[:-1])
        elif kind == "missing-manifest":
            place.put(manifest, None)
        elif kind == "truncated-manifest":
            place.put(manifest, place.get(manifest)[:-1])
        elif kind == "tag-of-nothing":
            place.put(tag, digest_of(b"nothing").encode())
        elif kind == "no-layers":
            for link in links:
                place.put(link, None)
    place.put(f"{THEIRS}/repositories/team/app/_layers/sha256/notes.txt", b"a stray file")


def data_of(digest: str) -> str:
    algorithm, _, encoded = digest.partition(":")
    return f"{THEIRS}/blobs/{algorithm}/{encoded[:2]}/{encoded}/data"


def push_what_breaks(registry: Registry) -> dict[str, Manifest]:
    """An image for each way to break one."""
    return {kind: registry.repository(f"broken/{kind}").push(image(), "v1") for kind in BROKEN}


def judge(told: Mapping[str, Any]) -> None:
    """Each broken image is named by its tag, with the reason, and nothing else."""
    spoilt = {one["repository"].partition("/")[2]: one for one in told["spoilt_tags"]}
    assert spoilt.keys() == BROKEN.keys()
    for kind, why in BROKEN.items():
        assert why in spoilt[kind]["problem"], (kind, spoilt[kind])
        assert (spoilt[kind]["tag"], spoilt[kind]["damaged"]) == ("v1", True)
    assert {one["repository"] for one in told["problems"] if not one["damaged"]} == {"team/app"}
    damaged = {one["repository"] for one in told["problems"] if one["damaged"]}
    assert damaged == {f"broken/{kind}" for kind in BROKEN.keys() - {"empty-tag", "tag-of-nothing"}}


def looks(root: Path) -> dict[str, tuple[bytes | None, int]]:
    """Names, bytes and times of all that Distribution has written, directories too."""
    return {
        str(path.relative_to(root)): (path.read_bytes() if path.is_file() else None, path.stat().st_mtime_ns)
        for path in (root / "docker").rglob("*")
    }


@pytest.fixture
def start(scratch: Path) -> Iterator[Callable[[Path], Server]]:
    """Starts Moorage on a directory, until the test ends."""
    started: list[Server] = []

    def one(root: Path) -> Server:
        started.append(Server(root, scratch))
        return started[-1]

    yield one
    for server in started:
        server.stop()


def adopt(root: Path, *words: str, code: int = 0) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(
        moorage("storage", "adopt", *words, "--json", "--root", str(root), code=code).out
    )
    return told


@pytest.mark.parametrize("version", [2, 3])
def test_a_directory_is_adopted_served_and_left(
    distribution: Distributions, start: Callable[[Path], Server], scratch: Path, version: int
) -> None:
    root = scratch / "root"
    writer = distribution(version, root)
    made = write_with_distribution(Registry(writer.host_port), version)
    writer.stop()
    before = looks(root)
    rehearsed = adopt(root, "--dry-run")
    assert [path.name for path in root.iterdir()] == ["docker"]

    told = adopt(root, "--hash-blobs")
    assert looks(root) == before
    assert (told["spoilt_tags"], told["problems"], told["damaged"]) == ([], [], False)
    assert told["repositories"] == rehearsed["repositories"] == len(made.names)
    assert (told["referrers"], told["tags"]) == (2, sum(len(made.tags(name)) for name in made.names))
    assert told["hashed_bytes"] > 0
    assert {**adopt(root), "hashed_bytes": None} == {**told, "hashed_bytes": None}

    server = start(root)
    # At once: nothing is left to be listed or read through.
    assert "Warning" not in dict(server.registry.ask("GET", "/v2/_catalog").headers)
    made.check(server.registry)
    made.check_lists(server.registry)
    assert adopt(root) == {**told, "hashed_bytes": None}
    assert looks(root) == before

    # A manifest that Distribution has no place for is what it would not see.
    app = server.repository("team/app")
    odd = app.push(Manifest(encode({"mediaType": OCI_ARTIFACT, "blobs": []}), OCI_ARTIFACT), "odd")
    server.stop()
    left = json.loads(moorage("storage", "leave", "--json", "--root", str(root), code=4).out)
    assert left["unseen"] == [
        {"repository": "team/app", "digest": odd.digest, "media_type": OCI_ARTIFACT, "tags": ["odd"]}
    ]
    moorage("tag", "delete", "team/app:odd", "--yes", "--root", str(root))
    shutil.rmtree(root / "_moorage")
    assert json.loads(moorage("storage", "leave", "--json", "--root", str(root)).out)["unseen"] == []
    reader = distribution(version, root)
    made.check(Registry(reader.host_port))
    assert sorted(catalog_of(reader)) == made.names
    reader.stop()
    if version == 2:
        # Version 3 stumbles over its own sha512 links.
        assert "failed" not in reader.collect_garbage().text


@pytest.mark.parametrize("version", [2, 3])
def test_a_broken_directory_is_adopted_and_told_apart(
    distribution: Distributions, start: Callable[[Path], Server], scratch: Path, version: int
) -> None:
    root = scratch / "root"
    writer = distribution(version, root)
    made = write_with_distribution(Registry(writer.host_port), version)
    broken = push_what_breaks(Registry(writer.host_port))
    writer.stop()

    def put(key: str, data: bytes | None) -> None:
        (root / key).unlink() if data is None else (root / key).write_bytes(data)

    break_all(Place(lambda key: (root / key).read_bytes(), put), broken)
    shutil.rmtree(root / THEIRS / "repositories/broken/no-layers/_layers")
    before = looks(root)
    judge(adopt(root, "--hash-blobs", code=4))
    people = moorage("storage", "adopt", "--dry-run", "--root", str(root), code=4).out
    assert f"tags that cannot be pulled whole: {len(BROKEN)}" in people
    assert "broken/missing-blob:v1: it needs the blob sha256:" in people
    assert looks(root) == before

    server = start(root)
    made.check(server.registry)
    assert set(complete_catalog(server.registry)) >= set(made.names)
    for kind, manifest in broken.items():
        repository = server.repository(f"broken/{kind}")
        repository.push(manifest, "v1")
    assert adopt(root, "--hash-blobs")["spoilt_tags"] == []
    server.stop()
    moorage("storage", "leave", "--root", str(root))
    shutil.rmtree(root / "_moorage")
    reader = distribution(version, root)
    made.check(Registry(reader.host_port))
    for kind, manifest in broken.items():
        answer = Registry(reader.host_port).repository(f"broken/{kind}").get("v1", ACCEPT)
        assert answer.body == manifest.data, (kind, answer)
        for blob in manifest.blobs:
            answer = Registry(reader.host_port).ask("GET", f"/v2/broken/{kind}/blobs/{digest_of(blob)}")
            assert answer.body == blob
    reader.stop()


def test_a_bucket_is_adopted_served_and_left(distribution: Distributions, scratch: Path) -> None:
    (folder := scratch / "buckets").mkdir()
    with versity(require("versitygw"), folder) as endpoint:
        bucket = Bucket(client_of(endpoint), "registries/theirs")
        storage = distribution_storage(bucket)["storage"]
        more = {"storage": {**storage, "redirect": {"disable": True}}}
        writer = distribution(3, scratch, more=more)
        made = write_with_distribution(Registry(writer.host_port), 3)
        broken = push_what_breaks(Registry(writer.host_port))
        writer.stop()

        def put(key: str, data: bytes | None) -> None:
            if data is None:
                bucket.client.delete_object(Bucket=bucket.name, Key=f"{bucket.prefix}/{key}")
            else:
                bucket.set(key, data)

        break_all(Place(lambda key: bucket.get(key) or b"", put), broken)
        config = scratch / "adopting.yaml"
        config.write_text(json.dumps(settings(bucket, scratch)))
        before = objects(bucket)
        judge(run(config, "--dry-run"))
        assert objects(bucket) == before
        judge(run(config, "--hash-blobs"))
        assert {key: one for key, one in objects(bucket).items() if key.startswith("docker/")} == before

        elsewhere = scratch / "elsewhere.yaml"
        wrong = settings(bucket, scratch)
        wrong["storage"]["s3"]["prefix"] = "registry"
        elsewhere.write_text(json.dumps(wrong))
        refused = moorage("storage", "adopt", "--config", str(elsewhere), code=3)
        assert "storage.s3.prefix" in refused.err

        server = serve(bucket, scratch)
        try:
            made.check(server.registry)
            for kind, manifest in broken.items():
                server.repository(f"broken/{kind}").push(manifest, "v1")
            judged = json.loads(server.command("storage", "adopt", "--hash-blobs", "--json").out)
            assert judged["spoilt_tags"] == []
        finally:
            server.stop()
        moorage("storage", "leave", "--config", str(config))
        for key in bucket.names():
            if key.startswith("_moorage/"):
                put(key, None)
        reader = distribution(3, scratch, more=more)
        made.check(Registry(reader.host_port))
        for kind, manifest in broken.items():
            assert (
                Registry(reader.host_port).repository(f"broken/{kind}").get("v1", ACCEPT).body
                == manifest.data
            )
        reader.stop()


def run(config: Path, *words: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(
        moorage("storage", "adopt", *words, "--json", "--config", str(config), code=4).out
    )
    return told


def objects(bucket: Bucket) -> dict[str, tuple[str, object]]:
    """Names, sums and times of all that lies in a bucket."""
    pages = bucket.client.get_paginator("list_objects_v2").paginate(Bucket=bucket.name)
    return {
        one["Key"].removeprefix(f"{bucket.prefix}/"): (one["ETag"], one["LastModified"])
        for page in pages
        for one in page.get("Contents", ())
    }


def test_an_alias_of_version_3_is_followed_and_hashed(distribution: Distributions, scratch: Path) -> None:
    """A blob pushed by sha512 lies under its sha256, and a link says so."""
    root = scratch / "root"
    writer = distribution(3, root)
    app = Registry(writer.host_port).repository("team/app")
    blob = os.urandom(500)
    alias = app.push_blob(blob, "sha512")
    app.push(image(), "v1")
    writer.stop()
    link = root / THEIRS / "repositories/team/app/_layers" / alias.replace(":", "/") / "link"
    assert link.read_text() == digest_of(blob)
    assert adopt(root, "--hash-blobs")["problems"] == []
    Tree(root).blob_file(digest_of(blob)).write_bytes(blob[:-1])
    told = adopt(root, "--hash-blobs", code=4)
    assert {one["content"] for one in told["problems"]} == {alias, digest_of(blob)}
