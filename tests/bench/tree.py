"""A store with many manifests, written as files: pushing them would take an hour."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.store import layout
from tests.bench.content import Blob, config, digest_of, manifest

REPOSITORIES = 100
IMAGES = "bench/images"


AGED = 1_700_000_000  # seconds: so old that a collection takes it


def write(root: Path, manifests: int, *, layers: int = 0, unneeded: int = 0, alike: int = 1) -> list[str]:
    """Store so many, each with a tag, spread over some repositories; the paths of some, in the API's words.

    Each has `layers` of its own, or shares them with so many of its repository that are `alike`, and beside
    each lie so many `unneeded` old blobs, every other one linked.
    All of it is Distribution's layout, so that both servers can be started on the same tree.
    """
    shared = config()
    names = [RepositoryName(f"bench/many-{number}") for number in range(min(REPOSITORIES, manifests))]
    _put(root, layout.blob_data(Digest.parse(shared.digest)), shared.body[0])
    for name in names:
        _put(root, layout.layer_link(name, Digest.parse(shared.digest)), shared.digest.encode())
    some = []
    for number in range(manifests):
        name, tag = names[number % len(names)], Tag(f"t{number}")
        first = number - number // len(names) % alike * len(names)  # of those that share
        own = [Blob.of(b"layer %d of %d" % (layer, first)) for layer in range(layers)]
        for blob in own:
            _put_blob(root, name, blob)
        for key, data in _manifest(name, tag, (shared, *own)):
            _put(root, key, data)
        for extra in range(unneeded):
            _put_blob(
                root, name, Blob.of(b"unneeded %d of %d" % (extra, number)), linked=number % 2, old=True
            )
        if number < len(names):
            some.append(f"/v2/{name}/manifests/{tag}")
    return some


def write_images(root: Path, images: int, layers: int, layer_bytes: int) -> tuple[Blob, ...]:
    """Store images of random bytes as `t0` and so on in `IMAGES`, none with anything of another's.

    The config and the layers of the last.
    """
    name = RepositoryName(IMAGES)
    blobs: tuple[Blob, ...] = ()
    for number in range(images):
        blobs = (config(), *(Blob.of(os.urandom(layer_bytes)) for _ in range(layers)))
        write_image(root, f"t{number}", blobs)
    _put(root, layout.catalog_entry(name), json.dumps({"name": name, "indexed": True}).encode())
    _put(root, layout.CATALOG_COMPLETE, b"")
    return blobs


def write_image(root: Path, tag: str, blobs: tuple[Blob, ...]) -> int:
    """Store an image in `IMAGES` under a tag, whatever that named before; the bytes of its manifest."""
    name = RepositoryName(IMAGES)
    for blob in blobs:
        _put_blob(root, name, blob)
    (data, content), *links = _manifest(name, Tag(tag), blobs)
    for key, text in ((data, content), *links):
        _put(root, key, text)
    return len(content)


def data(root: Path) -> int:
    """How many blobs and manifests lie in their places."""
    return sum(1 for _ in (root / "docker/registry/v2/blobs/sha256").glob("*/*/data"))


def complete(root: Path, manifests: int) -> None:
    """Add what Moorage itself writes beside: that it knows of every repository."""
    for number in range(min(REPOSITORIES, manifests)):
        name = RepositoryName(f"bench/many-{number}")
        _put(root, layout.catalog_entry(name), json.dumps({"name": name, "indexed": True}).encode())
    _put(root, layout.CATALOG_COMPLETE, b"")


def _put_blob(root: Path, name: RepositoryName, blob: Blob, *, linked: int = 1, old: bool = False) -> None:
    digest = Digest.parse(blob.digest)
    keys = [layout.blob_data(digest), *([layout.layer_link(name, digest)] if linked else [])]
    for key, data in zip(keys, (blob.body[0], blob.digest.encode()), strict=False):
        _put(root, key, data)
        if old:
            os.utime(root / key, (AGED, AGED))


def _manifest(name: RepositoryName, tag: Tag, blobs: tuple[Blob, ...]) -> Iterator[tuple[str, bytes]]:
    content = manifest(blobs)
    spelt = digest_of(content)
    digest = Digest.parse(spelt)
    yield layout.blob_data(digest), content
    yield layout.revision_link(name, digest), spelt.encode()
    yield layout.tag_link(name, tag), spelt.encode()


def _put(root: Path, key: str, data: bytes | memoryview) -> None:
    path = f"{root}/{key}"
    os.makedirs(path.rpartition("/")[0], exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)
