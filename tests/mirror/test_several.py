"""A blob that several upstreams have: who has broken it off, or lied about it, is asked behind the others."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from registry.errors import Unavailable
from registry.mirror.mirror import Mirror
from registry.model.digests import Digest
from tests.mirror.shelf import HERE, Around, Shelf

Make = Callable[..., Around]

MIB = 1 << 20
CONTENT = os.urandom(5 * MIB)
DIGEST = Digest.of(CONTENT)


def several(hub: Around) -> tuple[Mirror, Shelf, Shelf]:
    """A namespace before two upstreams that have the blob."""
    second = Shelf("second")
    for shelf in (hub.shelf, second):
        shelf.add_blob(CONTENT)
    return hub.process(hub.world.registry, "both", second), hub.shelf, second


async def test_the_other_goes_on_where_one_broke(around: Make) -> None:
    hub = around()
    mirror, first, second = several(hub)
    first.breaks = [3 * MIB]
    assert await hub.read(DIGEST, mirror=mirror) == CONTENT
    assert (first.calls["blob"], second.calls["blob"]) == (1, 1)
    assert first.sent_bytes == 3 * MIB and second.sent_bytes == 2 * MIB


async def test_the_one_that_broke_first_is_asked_again_when_all_did(around: Make) -> None:
    hub = around()
    mirror, first, second = several(hub)
    first.breaks, second.breaks = [3 * MIB], [4 * MIB]
    assert await hub.read(DIGEST, mirror=mirror) == CONTENT
    assert (first.calls["blob"], second.calls["blob"]) == (2, 1)


async def test_one_that_contradicts_the_other_does_not_end_it(around: Make) -> None:
    hub = around()
    mirror, first, second = several(hub)
    first.breaks = [3 * MIB]
    second.blobs[str(DIGEST)] = CONTENT + b"more"
    assert await hub.read(DIGEST, mirror=mirror) == CONTENT
    assert [(error.host, error.cause) for error in hub.failures] == [
        ("shelf", "unreachable"),
        ("second", "lying"),
    ]


async def test_one_that_gave_other_bytes_is_asked_last_for_ten_minutes(around: Make) -> None:
    hub = around()
    mirror, first, second = several(hub)
    first.blobs[str(DIGEST)] = os.urandom(len(CONTENT))
    with pytest.raises(Unavailable, match="shelf: what it gave"):
        await hub.read(DIGEST, mirror=mirror)
    assert await hub.read(DIGEST, mirror=mirror) == CONTENT
    assert (first.calls["blob"], second.calls["blob"]) == (1, 1)
    assert [(error.host, error.cause) for error in hub.failures] == [("shelf", "lying")]
    hub.time.now += 600
    await hub.world.remove_all([key for key in await hub.world.keys() if DIGEST.encoded in key])
    with pytest.raises(Unavailable, match="shelf: what it gave"):
        await hub.read(DIGEST, mirror=mirror)


async def test_of_other_blobs_the_first_is_asked_as_ever(around: Make) -> None:
    hub = around()
    mirror, first, second = several(hub)
    first.breaks = [3 * MIB]
    await hub.read(DIGEST, mirror=mirror)
    for shelf in (first, second):
        shelf.add_blob(b"other")
    assert await hub.read(Digest.of(b"other"), mirror=mirror) == b"other"
    assert (first.calls["blob"], second.calls["blob"]) == (2, 1)


async def test_a_repair_asks_the_other_at_once(around: Make) -> None:
    hub = around()
    mirror, first, _ = several(hub)
    first.blobs[str(DIGEST)] = os.urandom(len(CONTENT))
    assert await mirror.blob_again(HERE, DIGEST) == "second"
    assert await hub.read(DIGEST, mirror=mirror) == CONTENT
