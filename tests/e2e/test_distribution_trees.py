"""A directory that CNCF Distribution wrote is served as it is, and Distribution serves ours."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.api.contents import (
    DOCKER_IMAGE,
    DOCKER_LIST,
    OCI_ARTIFACT,
    Manifest,
    artifact,
    digest_of,
    encode,
    image,
    index,
)
from tests.api.registry import Registry, Repository, next_page
from tests.api.server import Server
from tests.api.tree import Tree
from tests.e2e.distribution import Distribution
from tests.e2e.wire import MANIFEST_TYPES

Distributions = Callable[..., Distribution]
SIGNATURE = "application/vnd.example.signature"
ACCEPT = [("Accept", one) for one in MANIFEST_TYPES]


class Serve(Protocol):
    """Starts Moorage on a directory."""

    def __call__(self, root: Path, settings: Mapping[str, Any] | None = None) -> Server: ...


@pytest.fixture
def serve(scratch: Path) -> Iterator[Serve]:
    """Servers that end with the test."""
    started: list[Server] = []

    def start(root: Path, settings: Mapping[str, Any] | None = None) -> Server:
        started.append(Server(root, scratch, settings))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def root(scratch: Path) -> Path:
    """The directory that everybody shares."""
    return scratch / "root"


@dataclass(slots=True)
class Contents:
    """What must be in a registry: manifests by what they are asked by, blobs, and what there must not be."""

    manifests: dict[tuple[str, str], Manifest] = field(default_factory=dict)
    blobs: dict[tuple[str, str], bytes] = field(default_factory=dict)
    loose: dict[tuple[str, str], bytes] = field(default_factory=dict)
    gone: set[tuple[str, str]] = field(default_factory=set)
    referrers: dict[tuple[str, str], set[str]] = field(default_factory=dict)

    def push(self, repository: Repository, manifest: Manifest, tag: str = "") -> Manifest:
        """Push a manifest and its blobs, and expect to find them."""
        repository.push(manifest, tag)
        for reference in {manifest.digest, tag} - {""}:
            self.manifests[repository.name, reference] = manifest
            self.gone.discard((repository.name, reference))
        for blob in manifest.blobs:
            self.blobs[repository.name, digest_of(blob)] = blob
        return manifest

    def tags(self, name: str) -> list[str]:
        """The tags that a repository must have."""
        return sorted(tag for where, tag in self.manifests if where == name and ":" not in tag)

    @property
    def names(self) -> list[str]:
        """The repositories that there must be."""
        return sorted({name for name, _ in self.manifests})

    def check(self, registry: Registry) -> None:
        """Every byte is as it was pushed, under the type that it was pushed with; no tag more or less."""
        self.check_manifests(registry)
        for name in self.names:
            assert sorted(registry.repository(name).tags()) == self.tags(name)

    def check_manifests(self, registry: Registry) -> None:
        """The same without the tags, of which there may be others."""
        for (name, reference), manifest in self.manifests.items():
            for method in ("GET", "HEAD"):
                answer = registry.ask(method, f"/v2/{name}/manifests/{reference}", ACCEPT)
                assert answer.status == 200, (name, reference, answer)
                assert answer["Docker-Content-Digest"] == manifest.digest
                assert answer["Content-Type"] == manifest.media_type
                assert answer["Content-Length"] == str(len(manifest.data))
                assert answer.body == (manifest.data if method == "GET" else b"")
        for (name, digest), blob in (self.blobs | self.loose).items():
            answer = registry.ask("GET", f"/v2/{name}/blobs/{digest}")
            assert (answer.status, answer.body) == (200, blob), (name, digest)
            assert registry.ask("HEAD", f"/v2/{name}/blobs/{digest}")["Content-Length"] == str(len(blob))
        for name, reference in self.gone:
            assert registry.ask("GET", f"/v2/{name}/manifests/{reference}", ACCEPT).status == 404

    def check_lists(self, registry: Registry) -> None:
        """The catalog and the referrers, once they are complete."""
        assert complete_catalog(registry) == self.names
        for (name, digest), referrers in self.referrers.items():
            assert set(registry.repository(name).referrers(digest)) == referrers


def write_with_distribution(registry: Registry, version: int) -> Contents:
    """What people do with a registry over the years."""
    made = Contents()
    app = registry.repository("team/app")
    plain = made.push(app, image(), "oci")
    made.push(app, image(mediaType=None), "untyped")
    made.push(
        app,
        image(media_type=DOCKER_IMAGE, config_type="application/vnd.docker.container.image.v1+json"),
        "docker",
    )
    children = [made.push(app, image()) for _ in range(2)]
    made.push(app, index([child.descriptor() for child in children]), "multi")
    docker_child = made.push(app, image(media_type=DOCKER_IMAGE))
    made.push(app, index([docker_child.descriptor()], media_type=DOCKER_LIST), "list")
    made.push(app, image(), "moved")
    made.push(app, image(), "moved")
    made.push(app, plain, "second-name")
    for number in range(2):
        signature = made.push(app, artifact(f"{SIGNATURE}.{number}", plain.descriptor()))
        made.referrers.setdefault((app.name, plain.digest), set()).add(signature.digest)
    gone = made.push(app, image(), "gone")
    assert app.ask("DELETE", f"manifests/{gone.digest}").status == 202
    for reference in ("gone", gone.digest):
        del made.manifests[app.name, reference]
        made.gone.add((app.name, reference))
    for blob in gone.blobs:
        made.loose[app.name, digest_of(blob)] = made.blobs.pop((app.name, digest_of(blob)))
    for name in ("0", "team/app/below", "team/app-2", "team.app", "a/b/c/d/e/f"):
        made.push(registry.repository(name), image(), "latest")
    registry.ask("PATCH", app.begin(), body=b"half done")
    if version == 3:
        # It keeps the bytes under their sha256, and a link under the sha512 that says so.
        blob = os.urandom(500)
        made.loose[app.name, app.push_blob(blob, "sha512")] = blob
        made.loose[app.name, digest_of(blob)] = blob
    return made


def write_with_moorage(registry: Registry, made: Contents) -> None:
    """Pushes into an adopted tree: moved tags, mounts, referrers of what was there, deletes."""
    app = registry.repository("team/app")
    made.push(app, image(), "moved")
    made.push(app, image(media_type=DOCKER_IMAGE), "docker")
    old = made.manifests[app.name, "oci"]
    made.push(app, index([old.descriptor(), made.push(app, image()).descriptor()]), "mixed")
    child = made.push(app, image(media_type=DOCKER_IMAGE))
    made.push(app, index([child.descriptor()], media_type=DOCKER_LIST), "mixed-list")
    made.push(app, image(mediaType=None), "untyped")
    made.push(app, image([]), "no-layers")
    signature = made.push(app, artifact(SIGNATURE, old.descriptor()))
    made.referrers[app.name, old.digest].add(signature.digest)
    assert app.ask("DELETE", "manifests/second-name").status == 202
    del made.manifests[app.name, "second-name"]
    made.gone.add((app.name, "second-name"))

    # A repository without a blob: a collector stops at one that has no place for them.
    made.push(registry.repository("new/indexes"), index(), "latest")
    new = registry.repository("new/one")
    for digest in map(digest_of, old.blobs):
        assert new.ask("POST", f"blobs/uploads/?mount={digest}&from=team/app").status == 201
    made.push(new, old, "mounted")
    registry.ask("PATCH", new.begin(), body=b"half done")


def complete_catalog(registry: Registry) -> list[str]:
    """The whole catalog, once no warning says that it is being built."""
    while registry.ask("GET", "/v2/_catalog?n=1").get("Warning"):
        pass
    names: list[str] = []
    page: str | None = "/v2/_catalog?n=3"
    while page is not None:
        answer = registry.ask("GET", page)
        names += answer.json()["repositories"]
        page = next_page(answer)
    return names


def catalog_of(distribution: Distribution) -> list[str]:
    return list(Registry(distribution.host_port).ask("GET", "/v2/_catalog?n=1000").json()["repositories"])


@pytest.mark.parametrize("version", [2, 3])
def test_there_and_back(distribution: Distributions, serve: Serve, root: Path, version: int) -> None:
    writer = distribution(version, root)
    made = write_with_distribution(Registry(writer.host_port), version)
    made.check(Registry(writer.host_port))
    writer.stop()
    theirs = snapshot(root)

    server = serve(root)
    made.check(server.registry)
    made.check_lists(server.registry)
    assert theirs.items() <= snapshot(root).items()
    write_with_moorage(server.registry, made)
    made.check(server.registry)
    made.check_lists(server.registry)
    assert server.command("storage", "check", "--hash-blobs", "--json").code == 0
    server.stop()

    # A collector takes what no manifest refers to.
    made.loose.clear()
    for other in (2, 3):
        reader = distribution(other, root)
        made.check(Registry(reader.host_port))
        assert sorted(catalog_of(reader)) == made.names
        reader.stop()
        collected = reader.collect_garbage()
        assert "failed" not in collected.text
        reader = distribution(other, root)
        made.check(Registry(reader.host_port))
        reader.stop()
    server = serve(root)
    made.check(server.registry)
    made.check_lists(server.registry)
    write_again(server.registry, made)


@pytest.mark.parametrize("version", [2, 3])
def test_sha512_and_unknown_types_harm_no_collection(
    distribution: Distributions, serve: Serve, root: Path, version: int
) -> None:
    """Version 3 serves what we hold by sha512; neither stumbles over what lies beside its layout."""
    made = Contents()
    server = serve(root)
    app = server.repository("team/app")
    plain = made.push(app, image(), "plain")
    by_sha512 = app.push(image(algorithm="sha512"), algorithm="sha512")
    assert app.put(by_sha512, digest_of(by_sha512.data, "sha512"), "?tag=sha512").status == 201
    odd = app.push(Manifest(encode({"mediaType": OCI_ARTIFACT, "blobs": []}), OCI_ARTIFACT), "artifact")
    made.gone.add((app.name, odd.digest))
    server.stop()

    reader = distribution(version, root)
    if version == 3:
        check_sha512(Registry(reader.host_port), by_sha512)
    assert Registry(reader.host_port).repository(app.name).get(odd.digest).status == 404
    reader.stop()
    assert "failed" not in reader.collect_garbage().text
    registry = serve(root).registry
    made.gone.clear()
    made.check_manifests(registry)
    check_sha512(registry, by_sha512)
    assert registry.repository(app.name).get("artifact").body == odd.data
    assert registry.repository(app.name).get(plain.digest).body == plain.data


def check_sha512(registry: Registry, made: Manifest) -> None:
    """An image by its tag and by its sha512, blobs by theirs."""
    app = registry.repository("team/app")
    digest = digest_of(made.data, "sha512")
    for reference in ("sha512", digest):
        answer = app.get(reference, ACCEPT)
        assert (answer.status, answer.body, answer["Docker-Content-Digest"]) == (200, made.data, digest)
    for blob in made.blobs:
        assert app.ask("GET", f"blobs/{digest_of(blob, 'sha512')}").body == blob


def test_an_image_of_blobs_that_version_3_keeps_under_another_digest(
    distribution: Distributions, serve: Serve, root: Path
) -> None:
    """Its link under the sha512 names the sha256; ours follow it, also mounted elsewhere, and keep it."""
    writer = distribution(3, root)
    config, layer = b'{"of": "an image"}', os.urandom(300)
    app = Registry(writer.host_port).repository("team/app")
    for blob in (config, layer):
        app.push_blob(blob, "sha512")
    made = image([layer], config=config, algorithm="sha512")
    writer.stop()
    assert not list(root.glob("docker/registry/v2/blobs/sha512"))

    registry = serve(root).registry
    app = registry.repository("team/app")
    assert app.put(made, "latest").status == 201
    other = registry.repository("other")
    for blob in made.blobs:
        digest = digest_of(blob, "sha512")
        assert app.ask("GET", f"blobs/{digest}").body == blob
        assert app.ask("DELETE", f"blobs/{digest}").status == 405
        assert other.ask("POST", f"blobs/uploads/?mount={digest}&from=team/app").status == 201
        assert other.ask("GET", f"blobs/{digest}").body == blob
    assert other.put(made, "mounted").status == 201
    # Pushed to us it lies under the digest that it was pushed with, and survives any collector.
    for blob in made.blobs:
        app.push_blob(blob, "sha512")
        assert app.ask("GET", f"blobs/{digest_of(blob, 'sha512')}").body == blob


def test_the_catalog_of_an_adopted_tree_warns_until_it_is_complete(serve: Serve, root: Path) -> None:
    tree = Tree(root)
    names = [f"team-{number}/app" for number in range(5)]
    for name in names:
        tree.manifest(name, image(), "latest")
    before = snapshot(root)
    looking = serve(root, {"read_only": True})
    answer = looking.registry.ask("GET", "/v2/_catalog")
    assert (answer.status, answer.json()) == (200, {"repositories": []})
    assert answer["Warning"].startswith('299 - "')
    assert looking.repository(names[0]).tags() == ["latest"]
    assert snapshot(root) == before
    # Another process may write, and builds it in the background; the first shows it then.
    assert complete_catalog(serve(root).registry) == names
    assert complete_catalog(looking.registry) == names


def test_content_copied_in_while_serving_is_found_by_a_reindex(
    distribution: Distributions, serve: Serve, scratch: Path, root: Path
) -> None:
    server = serve(root)
    made = Contents()
    app = server.repository("team/app")
    subject = made.push(app, image(), "latest")
    first = made.push(app, artifact(SIGNATURE, subject.descriptor()))
    made.referrers[app.name, subject.digest] = {first.digest}
    made.check(server.registry)
    made.check_lists(server.registry)

    # Somebody else's registry gets the same image and signs it; then its directory is copied over ours.
    writer = distribution(2, scratch / "elsewhere")
    theirs = Registry(writer.host_port)
    made.push(theirs.repository("team/app"), subject)
    second = made.push(theirs.repository("team/app"), artifact(SIGNATURE, subject.descriptor()))
    for name in ("copied", "team/copied"):
        other = made.push(theirs.repository(name), image(), "latest")
        signature = made.push(theirs.repository(name), artifact(SIGNATURE, other.descriptor()))
        made.referrers[name, other.digest] = {signature.digest}
    writer.stop()
    shutil.copytree(writer.root, root, dirs_exist_ok=True)

    made.check(server.registry)
    assert complete_catalog(server.registry) == ["team/app"]
    assert app.referrers(subject.digest) == [first.digest]
    result = server.command("storage", "reindex", "--json")
    found = json.loads(result.out)
    assert found["repositories"] == 3, found
    made.referrers[app.name, subject.digest].add(second.digest)
    made.check_lists(server.registry)


def write_again(registry: Registry, made: Contents) -> None:
    """After a collection everything can be pushed again, and nothing is missing for it."""
    for (name, reference), manifest in made.manifests.items():
        if ":" not in reference:
            made.push(registry.repository(name), manifest, reference)
    made.check(registry)


def snapshot(root: Path) -> dict[str, bytes]:
    """Every file of a tree."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
