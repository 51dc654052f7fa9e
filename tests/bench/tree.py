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


def write(root: Path, manifests: int) -> list[str]:
    """Store so many, each with a tag, spread over some repositories; the paths of some, in the API's words.

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
        for key, data in _manifest(name, tag, shared):
            _put(root, key, data)
        if number < len(names):
            some.append(f"/v2/{name}/manifests/{tag}")
    return some


def complete(root: Path, manifests: int) -> None:
    """Add what Moorage itself writes beside: that it knows of every repository."""
    for number in range(min(REPOSITORIES, manifests)):
        name = RepositoryName(f"bench/many-{number}")
        _put(root, layout.catalog_entry(name), json.dumps({"name": name, "indexed": True}).encode())
    _put(root, layout.CATALOG_COMPLETE, b"")


def _manifest(name: RepositoryName, tag: Tag, shared: Blob) -> Iterator[tuple[str, bytes]]:
    content = manifest((shared,))
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
