"""What clients do all day, as work that is measured per unit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import count

from tests.bench.connection import Connection
from tests.bench.content import MANIFEST, Blob, Image
from tests.bench.crowd import Work, dealt, together
from tests.bench.figures import Goal
from tests.bench.pushing import push_containerd, push_docker, push_image, push_manifest
from tests.bench.scale import Scale
from tests.bench.shelf import LAYERS, REPOSITORY, Shelf

GIB = 1 << 30
PULLS = 4
IMAGES = "bench/images"
IMAGES_A_PULL = 10
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

Prepare = Callable[[Shelf, Scale], Run]
"""Makes ready, outside what is measured."""


@dataclass(frozen=True, slots=True)
class Entrants:
    """Which servers are compared: names of `tests.bench.race.KINDS`."""

    moorage: str = "moorage"
    distribution: str = "distribution"
    control: str = "control"


@dataclass(frozen=True, slots=True)
class Workload:
    """Work of one kind, what one of it is called, and its goals: processor time, and units a second."""

    name: str
    unit: str
    meaning: str
    prepare: Prepare
    goal: Goal | None = None
    rate_goal: Goal | None = None
    entrants: Entrants = Entrants()


def pushing(push: Callable[[Connection, str, Blob], None]) -> Prepare:
    """One new large blob, in one of the ways to push."""

    def prepare(shelf: Shelf, _: Scale) -> Run:
        blob = shelf.passing()

        def run() -> float:
            push(shelf.connection, REPOSITORY, blob)
            return blob.size_bytes / GIB

        return run

    return prepare


def pushing_many(shelf: Shelf, scale: Scale) -> Run:
    """Many large blobs, all at the same time."""
    blobs = [shelf.passing() for _ in range(scale.pushes)]
    works: list[Work] = [partial(push_docker, repository=REPOSITORY, blob=blob) for blob in blobs]

    def run() -> float:
        together(shelf.connect, works)
        return sum(blob.size_bytes for blob in blobs) / GIB

    return run


def pulling(shelf: Shelf, _: Scale) -> Run:
    """A large blob, several times."""
    path, size = f"/v2/{REPOSITORY}/blobs/{shelf.large.digest}", shelf.large.size_bytes

    def run() -> float:
        for _ in range(PULLS):
            shelf.connection.ask("GET", path, 200)
        return PULLS * size / GIB

    return run


def asking(method: str, paths: Callable[[Shelf], list[str]], headers: str = "") -> Prepare:
    """Requests on one connection, going round the paths."""

    def prepare(shelf: Shelf, scale: Scale) -> Run:
        found = paths(shelf)
        turns = [found[number % len(found)] for number in range(scale.requests)]

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
    return [f"/v2/{REPOSITORY}/blobs/{blob.digest}" for blob in shelf.small]


def pushing_images(*, spread: bool) -> Prepare:
    """Small new images from several clients at once, over many repositories or all into one."""
    numbers = count()

    def prepare(shelf: Shelf, scale: Scale) -> Run:
        def repository() -> str:
            return f"{IMAGES}-{next(numbers) % scale.repositories}" if spread else IMAGES

        images = [Image.new(LAYERS) for _ in range(scale.images)]
        works = [partial(push_image, repository=repository(), image=image) for image in images]

        def run() -> float:
            together(shelf.connect, dealt(works, scale.image_clients))
            return len(images)

        return run

    return prepare


def pulling_images(shelf: Shelf, _: Scale) -> Run:
    """Small images as docker pulls them, with a connection for each request."""
    images = [Image.new(LAYERS) for _ in range(IMAGES_A_PULL)]
    for image in images:
        for blob in image.blobs:
            push_containerd(shelf.connection, IMAGES, blob)
        push_manifest(shelf.connection, IMAGES, image.manifest, image.tag)

    def run() -> float:
        connection = shelf.connect(keep=False)
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
        yield "GET", f"/v2/{IMAGES}/blobs/{blob.digest}"


def some_tags(shelf: Shelf) -> list[str]:
    """The path of a list of some of the tags."""
    return [f"/v2/{REPOSITORY}/tags/list?n={min(100, len(shelf.manifests))}"]


def support(_: Shelf) -> list[str]:
    """The path that says that this is a registry."""
    return ["/v2/"]


UNCACHED = Entrants(moorage="uncached")
TLS = Entrants("moorage-tls", "distribution-tls", "control-tls")
BARE = Entrants(moorage="uvicorn")
ALONE = (
    Workload("push-docker", "GiB", "POST, streamed PATCH, PUT", pushing(push_docker), Goal(1.1)),
    Workload("push-containerd", "GiB", "POST, PUT with the body", pushing(push_containerd), Goal(1.1)),
    Workload("pull", "GiB", "GET of a large blob", pulling, Goal(0.5)),
    Workload("pull-tls", "GiB", "the same over TLS", pulling, entrants=TLS),
    Workload(
        *(
            "manifest-by-tag",
            "request",
            "GET, many tags in turn, no body cached",
            asking("GET", by_tag, ACCEPT),
        ),
        goal=Goal(0.9),
        entrants=UNCACHED,
    ),
    Workload(
        *("manifest-by-digest", "request", "GET, the same by digest", asking("GET", by_digest, ACCEPT)),
        goal=Goal(0.9),
        entrants=UNCACHED,
    ),
    Workload(
        *("cached-by-tag", "request", "GET by tag, bodies cached", asking("GET", by_tag, ACCEPT)), Goal(0.8)
    ),
    Workload(
        *("cached-by-digest", "request", "GET by digest, bodies cached", asking("GET", by_digest, ACCEPT)),
        goal=Goal(0.8),
    ),
    Workload("manifest-head", "request", "HEAD by tag", asking("HEAD", by_tag, ACCEPT)),
    Workload("blob-head", "request", "HEAD of a blob", asking("HEAD", small_blobs), Goal(1.0)),
    Workload("blob-small", "request", "GET of a blob of 1 KiB", asking("GET", small_blobs), Goal(0.25)),
    Workload("tags", "request", "the first 100 tags", asking("GET", some_tags), Goal(0.4)),
    Workload("base", "request", "GET /v2/", asking("GET", support)),
    Workload(
        *("uvicorn", "request", "the same of uvicorn with an empty application", asking("GET", support)),
        entrants=BARE,
    ),
    Workload("pull-image", "image", "config and 2 layers of 1 KiB, a connection a request", pulling_images),
)
CROWDED = (
    Workload(
        *("images-spread", "image", "such an image, 8 clients, 50 repositories"),
        pushing_images(spread=True),
        Goal(0.6),
        Goal(1.3, at_least=True),
    ),
    Workload(
        *("images-in-one", "image", "the same into one repository"),
        pushing_images(spread=False),
        Goal(0.6),
        Goal(1.3, at_least=True),
    ),
    Workload("push-many", "GiB", "push-docker, 50 at once", pushing_many, Goal(0.9)),
)
# The crowd comes after the others, on servers of its own: for half a minute after many writes at once Moorage
# does not trust its disk to be quick, which would be seen in all that is asked of it then.
GROUPS = (ALONE, CROWDED)
# What is asked of servers whose bytes lie in a bucket, with goals of its own.
_IN_A_BUCKET = {
    "push-docker": Goal(1.2),
    "push-containerd": Goal(1.2),
    "pull": Goal(1.2),
    "cached-by-tag": Goal(0.8),
    "cached-by-digest": Goal(0.8),
    "blob-head": None,
    "tags": None,
    "pull-image": None,
    "images-spread": None,
}
IN_A_BUCKET = tuple(
    tuple(
        replace(workload, goal=_IN_A_BUCKET[workload.name], rate_goal=None)
        for workload in group
        if workload.name in _IN_A_BUCKET
    )
    for group in GROUPS
)
