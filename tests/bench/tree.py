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


AGED = 1_700_000_000  # seconds: so old that a collection takes it


def write(root: Path, manifests: int, *, layers: int = 0, unneeded: int = 0) -> list[str]:
    """Store so many, each with a tag, spread over some repositories; the paths of some, in the API's words.

    Each has `layers` of its own, and beside each lie so many `unneeded` old blobs, every other one linked.
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
        own = [Blob.of(b"layer %d of %d" % (layer, number)) for layer in range(layers)]
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
