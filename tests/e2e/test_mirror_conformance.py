"""The official conformance program, where it only reads: as content comes, and where no upstream answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.api import contents
from tests.api.contents import Manifest, digest_of
from tests.api.registry import Registry
from tests.api.server import Server
from tests.e2e.conformance import Totals, conform_reading
from tests.e2e.mirrors import NAMESPACE, Mirror, namespace


@pytest.mark.parametrize("kind", ["moorage", "distribution3"])
def test_it_conforms_with_the_upstream_and_without_any(
    kind: str, mirror: Callable[..., Mirror], library: str, scratch: Path
) -> None:
    mirrored = mirror(kind)
    there = Registry(mirrored.upstream.wire.host_port).repository(library)
    images = [there.push(contents.image(), tag) for tag in ("one", "two")]
    index = there.push(contents.index([image.descriptor() for image in images]), "index")
    empty = there.push(contents.image([]), "empty")
    note = there.push(contents.artifact("application/vnd.example.thing", images[0].descriptor()))
    pushed: list[Manifest] = [*images, index, empty, note]
    content: dict[str, Sequence[str]] = {
        "tags": ["one", "two", "index", "empty"],
        "manifests": [one.digest for one in pushed],
        "blobs": [digest_of(blob) for one in pushed for blob in one.blobs],
        "referrers": [images[0].digest, images[1].digest],
    }
    if kind == "moorage":
        # Distribution keeps what is pushed by such a digest under another.
        long = contents.image(algorithm="sha512")
        there.push(long, algorithm="sha512")
        content["manifests"] = [*content["manifests"], digest_of(long.data, "sha512")]
        content["blobs"] = [*content["blobs"], *(digest_of(blob, "sha512") for blob in long.blobs)]

    def totals_of(server: Server) -> Totals:
        return conform_reading(server.registry.host_port, scratch, f"{NAMESPACE}/{library}", **content)

    def passes(server: Server) -> int:
        totals = totals_of(server)
        assert (totals.failed, totals.errors, totals.skipped) == (0, 0, 0), totals.unsuccessful
        return totals.passed

    passed = passes(mirrored.server)
    assert passed > 2 * len(content["manifests"]) + 2 * len(content["blobs"])
    mirrored.upstream.process.kill()
    totals = totals_of(mirrored.server)
    # Of what nobody has asked for before it cannot be known that it is nowhere, so those are told 503.
    failed = [line.strip() for line in totals.unsuccessful.splitlines() if "missing-manifest/by-" in line]
    assert (totals.failed, totals.passed, len(failed)) == (2, passed - 2, 2), totals.unsuccessful
    mirrored.server.stop()
    apart = Server(mirrored.server.root, scratch, namespace())
    try:
        assert passes(apart) == passed
    finally:
        apart.stop()
