"""The small files of a bundle that are made from the rest: the OCI image layout's, and one for people."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

from registry.bundles.format import FileSum, Totals, canonical
from registry.bundles.statement import Statement, digest_of
from registry.model import media_types
from registry.model.units import format_size

_REF_NAME = "org.opencontainers.image.ref.name"


def sum_of(pieces: Iterable[bytes]) -> FileSum:
    """What a file must be that has these pieces."""
    hasher, size = hashlib.sha256(), 0
    for piece in pieces:
        hasher.update(piece)
        size += len(piece)
    return FileSum(hasher.hexdigest(), size)


def layout_json() -> bytes:
    """`oci-layout` (image-spec: Image Layout)."""
    return canonical({"imageLayoutVersion": "1.0.0"})


def index_json(statement: Statement) -> Iterator[bytes]:
    """`index.json`, piece by piece: the manifests that lie in the bundle, by each name that they have.

    In the order in which they are stated, and then by name; what has no name stands there once, without one.
    (image-spec: Image Layout)
    """
    names = statement.names
    # The same bytes as if it were written at once: keys in order, no spaces.
    yield b'{"manifests":['
    comma = b""
    for key, content in statement.manifests.items():
        if not content.carried:
            continue
        descriptor: dict[str, Any] = {
            "mediaType": content.media_type,
            "digest": str(digest_of(key)),
            "size": content.size,
        }
        annotations = [{"annotations": {_REF_NAME: ":".join(one)}} for one in names.get(key, ())]
        for more in annotations or [{}]:
            yield comma + canonical({**descriptor, **more}).rstrip(b"\n")
            comma = b","
    rest = canonical({"mediaType": media_types.OCI_INDEX, "schemaVersion": 2})
    yield b"]," + rest[1:]


def readme(stream: str, source: str, totals: Totals, media: int) -> bytes:
    """`README.txt`: what this is, in words."""
    lines = [
        "This is a bundle of container images, written by the registry",
        f'"{source}" for the stream "{stream}".',
        "",
        f"Images (tags):     {totals.tags} in {totals.repositories} repositories",
        f"Manifests:         {totals.manifests}",
        f"Blobs:             {totals.blobs}",
        f"All of it:         {totals.bytes} bytes ({format_size(totals.bytes)})",
        f"Lies here:         {totals.carried_bytes} bytes ({format_size(totals.carried_bytes)})",
        f"In files:          {totals.carried_files}",
        f"Media:             {media}",
        "",
        "The rest is believed to be where this goes. Nothing is compressed or encrypted.",
        "",
        "Is it whole?       sha256sum -c SHA256SUMS    (in each folder)",
        "What is in it?     contents.jsonl, one line each",
        "Who signed it?     moorage bundle verify FOLDER",
        "To take it in:     moorage bundle import FOLDER",
        "",
        "bundle.json has its number and its id.",
        "",
    ]
    return "\n".join(lines).encode()
