"""Inventories: what a far side holds, as plain text that a person can review before it is carried out.

    moorage inventory 1
    source far.example
    manifest sha256:… team/app
    sparse sha256:… team/app
    tag sha256:… team/app:1.0
    end <number of lines before this>

Blobs are implied: whoever has a manifest has what it lists, unless it is marked `sparse`.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

from registry.bundles.contents import Key
from registry.bundles.sources import Source
from registry.bundles.statement import key_of
from registry.errors import DigestInvalid, RequestInvalid
from registry.model.digests import Digest
from registry.model.names import RepositoryName
from registry.model.quoting import quoted
from registry.store.store import Store

TITLE = "moorage inventory 1"


@dataclass(frozen=True, slots=True)
class Inventory:
    """What an inventory says: manifests that are held whole, and those that are not."""

    sha256: str
    whole: frozenset[Key]
    sparse: frozenset[Key]


async def lines_of_registry(
    store: Store, source: Source, names: Iterable[RepositoryName], called: str
) -> AsyncIterator[str]:
    """The lines of the inventory of some repositories."""
    count = 2
    yield TITLE
    yield f"source {called}"
    for name in names:
        digests = sorted({str(one): one async for one in store.links.manifests(name)}.items())
        for _, digest in digests:
            yield f"{await _kind(store, source, name, digest)} {digest} {name}"
            count += 1
        for tag in await source.tags(name):
            if (target := await source.target(name, tag)) is not None:
                yield f"tag {target} {name}:{tag}"
                count += 1
    yield f"end {count}"


async def _kind(store: Store, source: Source, name: RepositoryName, digest: Digest) -> str:
    stored = await source.manifest(name, digest)
    if stored is None:
        return "sparse"
    manifest = await store.effects.aside(stored.parse)
    for child in manifest.children:
        if await source.manifest(name, child.digest) is None:
            return "sparse"
    for blob in manifest.required_blobs:
        if await source.blob_size(name, blob.digest) != blob.size_bytes:
            return "sparse"
    return "manifest"


def read_inventory(content: bytes) -> Inventory:
    """What an inventory says. Raises RequestInvalid."""
    try:
        lines = content.decode("ascii").splitlines()
    except UnicodeDecodeError:
        raise RequestInvalid("this is no inventory: it is no plain text") from None
    if not lines or lines[0] != TITLE:
        raise RequestInvalid(f"this is no inventory: its first line is not {quoted(TITLE)}")
    if lines[-1] != f"end {len(lines) - 1}":
        raise RequestInvalid("the inventory is cut off; copy it once more from where it was made")
    whole, sparse = set[Key](), set[Key]()
    for number, line in enumerate(lines[1:-1], 2):
        kind, _, rest = line.partition(" ")
        if kind in ("manifest", "sparse"):
            try:
                key = key_of(Digest.parse(rest.partition(" ")[0]).require_supported())
            except DigestInvalid as error:
                raise RequestInvalid(f"line {number} of the inventory: {error.message}") from None
            (whole if kind == "manifest" else sparse).add(key)
        elif kind not in ("source", "tag"):
            raise RequestInvalid(f"line {number} of the inventory is not understood: {quoted(line[:100])}")
    return Inventory(hashlib.sha256(content).hexdigest(), frozenset(whole), frozenset(sparse))
