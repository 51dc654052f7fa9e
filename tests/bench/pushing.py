"""The ways in which clients push."""

from __future__ import annotations

from tests.bench.connection import Connection
from tests.bench.content import MANIFEST, Blob, Image


def push_docker(connection: Connection, repository: str, blob: Blob) -> None:
    """POST, a streamed PATCH that does not say how long it is, PUT."""
    answer = connection.ask("PATCH", begin(connection, repository), 202, body=blob.body, chunked=True)
    connection.ask("PUT", closing(target(answer.headers["location"]), blob.digest), 201)


def push_containerd(connection: Connection, repository: str, blob: Blob) -> None:
    """POST, and a PUT with all the bytes and their length."""
    connection.ask("PUT", closing(begin(connection, repository), blob.digest), 201, body=blob.body)


def push_manifest(connection: Connection, repository: str, manifest: bytes, tag: str) -> None:
    """Push a manifest under a tag."""
    path = f"/v2/{repository}/manifests/{tag}"
    connection.ask("PUT", path, 201, f"Content-Type: {MANIFEST}\r\n", (manifest,))


def push_image(connection: Connection, repository: str, image: Image) -> None:
    """Blob after blob as docker does it, and the manifest by its tag.

    Docker asks for each blob before; Distribution logs a second line for every 404, so nobody asks here.
    """
    for blob in image.blobs:
        push_docker(connection, repository, blob)
    push_manifest(connection, repository, image.manifest, image.tag)


def begin(connection: Connection, repository: str) -> str:
    """Where a new upload goes."""
    return target(connection.ask("POST", f"/v2/{repository}/blobs/uploads/", 202).headers["location"])


def target(location: str) -> str:
    """The path and query of a link, which may begin with a host or not."""
    return location if location.startswith("/") else "/" + location.split("/", 3)[3]


def closing(place: str, digest: str) -> str:
    """An upload's address with the digest that closes it."""
    return f"{place}{'&' if '?' in place else '?'}digest={digest}"
