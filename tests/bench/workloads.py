"""What clients do all day, as work that is measured per unit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.bench.connection import Connection
from tests.bench.content import MANIFEST, Image, digest_of
from tests.bench.pushing import Body, push_containerd, push_docker, push_manifest
from tests.bench.shelf import REPOSITORY, Shelf

GIB = 1 << 30
PULLS = 4
IMAGES = "bench/images"
REQUESTS_AN_IMAGE = 50
ACCEPT = "".join(
    f"Accept: {kind}\r\n"
    for kind in (
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.index.v1+json",
        MANIFEST,
    )
)

Run = Callable[[], float]
"""Does the work, and says how many units it was."""

Prepare = Callable[[Shelf, int], Run]
"""Makes ready, outside what is measured, for work worth about that many requests."""


@dataclass(frozen=True, slots=True)
class Workload:
    """Work of one kind, and what one of it is called."""

    name: str
    unit: str
    meaning: str
    prepare: Prepare


def pushing(push: Callable[[Connection, str, Body, str], None]) -> Prepare:
    """One new large blob, in one of the ways to push."""

    def prepare(shelf: Shelf, _: int) -> Run:
        blob, shelf.large = shelf.content.blob()

        def run() -> float:
            push(shelf.connection, REPOSITORY, blob, shelf.large)
            return len(blob) / GIB

        return run

    return prepare


def pulling(shelf: Shelf, _: int) -> Run:
    """The last large blob, several times."""

    def run() -> float:
        pulled = 0
        for _ in range(PULLS):
            answer = shelf.connection.ask("GET", f"/v2/{REPOSITORY}/blobs/{shelf.large}", 200)
            pulled += int(answer.headers["content-length"])
        return pulled / GIB

    return run


def asking(method: str, paths: Callable[[Shelf], list[str]], headers: str = "") -> Prepare:
    """Requests on one connection, going round the paths."""

    def prepare(shelf: Shelf, requests: int) -> Run:
        found = paths(shelf)
        turns = [found[number % len(found)] for number in range(requests)]

        def run() -> float:
            for path in turns:
                shelf.connection.ask(method, path, 200, headers)
            return len(turns)

        return run

    return prepare


def by_tag(shelf: Shelf) -> list[str]:
    """The paths of all manifests, by tag."""
    return [f"/v2/{REPOSITORY}/manifests/{tag}" for tag, _ in shelf.manifests]


def by_digest(shelf: Shelf) -> list[str]:
    """The paths of all manifests, by digest."""
    return [f"/v2/{REPOSITORY}/manifests/{digest}" for _, digest in shelf.manifests]


def small_blobs(shelf: Shelf) -> list[str]:
    """The paths of all small blobs."""
    return [f"/v2/{REPOSITORY}/blobs/{digest}" for digest in shelf.small]


def pushing_images(shelf: Shelf, requests: int) -> Run:
    """Small new images as docker pushes them, with a connection for each request."""
    images = [shelf.content.image() for _ in range(max(1, requests // REQUESTS_AN_IMAGE))]

    def run() -> float:
        connection = Connection(shelf.host_port, keep=False)
        for image in images:
            connection.ask("GET", "/v2/", 200)
            for blob in image.blobs:
                digest = digest_of(blob)
                connection.ask("HEAD", f"/v2/{IMAGES}/blobs/{digest}", 404)
                push_docker(connection, IMAGES, blob, digest)
                connection.ask("HEAD", f"/v2/{IMAGES}/blobs/{digest}", 200)
            push_manifest(connection, IMAGES, image.manifest, image.tag)
        return len(images)

    return run


def pulling_images(shelf: Shelf, requests: int) -> Run:
    """Small images as docker pulls them, with a connection for each request."""
    images = [shelf.content.image() for _ in range(max(1, requests // REQUESTS_AN_IMAGE))]
    for image in images:
        for blob in image.blobs:
            push_containerd(shelf.connection, IMAGES, blob, digest_of(blob))
        push_manifest(shelf.connection, IMAGES, image.manifest, image.tag)

    def run() -> float:
        connection = Connection(shelf.host_port, keep=False)
        for image in images:
            for method, path in pull_of(image):
                connection.ask(method, path, 200, ACCEPT if "/manifests/" in path else "")
        return len(images)

    return run


def pull_of(image: Image) -> Iterator[tuple[str, str]]:
    """The requests of one pull by tag."""
    yield "GET", "/v2/"
    yield "HEAD", f"/v2/{IMAGES}/manifests/{image.tag}"
    yield "GET", f"/v2/{IMAGES}/manifests/{image.digest}"
    for blob in image.blobs:
        yield "GET", f"/v2/{IMAGES}/blobs/{digest_of(blob)}"


def some_tags(_: Shelf) -> list[str]:
    """The path of a list of tags."""
    return [f"/v2/{REPOSITORY}/tags/list?n=100"]


def support(_: Shelf) -> list[str]:
    """The path that says that this is a registry."""
    return ["/v2/"]


WORKLOADS = (
    Workload("push-docker", "GiB", "POST, streamed PATCH, PUT", pushing(push_docker)),
    Workload("push-containerd", "GiB", "POST, PUT with the body", pushing(push_containerd)),
    Workload("pull", "GiB", "GET of a large blob", pulling),
    Workload("manifest-by-tag", "request", "GET, many tags in turn", asking("GET", by_tag, ACCEPT)),
    Workload("manifest-by-digest", "request", "GET, many digests in turn", asking("GET", by_digest, ACCEPT)),
    Workload("manifest-head", "request", "HEAD by tag", asking("HEAD", by_tag, ACCEPT)),
    Workload("blob-head", "request", "HEAD of a blob", asking("HEAD", small_blobs)),
    Workload("blob-small", "request", "GET of a blob of 1 KiB", asking("GET", small_blobs)),
    Workload("tags", "request", "the first 100 tags", asking("GET", some_tags)),
    Workload("base", "request", "GET /v2/", asking("GET", support)),
    Workload("push-image", "image", "config and 5 layers of 1 KiB, as docker", pushing_images),
    Workload("pull-image", "image", "the same, as docker", pulling_images),
)
