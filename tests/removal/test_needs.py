"""What removers find to be needed, and what they keep in mind of it."""

from __future__ import annotations

import hashlib
import json
import tracemalloc

from registry.model.digests import Digest
from registry.model.manifests import Manifest
from registry.model.media_types import OCI_IMAGE, OCI_INDEX
from registry.removal.intents import Intents
from registry.removal.needs import Needs
from tests.inmemory import NAME, World

_INDEXES, _LISTED = 30, 1000
_LAYER = Digest.of(b"layer")


async def test_what_indexes_list_that_is_not_here_costs_no_memory() -> None:
    """Anybody who may push can list millions of digests that are nowhere."""
    world = World()
    for number in range(_INDEXES):
        listed = [f"sha256:{hashlib.sha256(b'%d %d' % (number, one)).hexdigest()}" for one in range(_LISTED)]
        children = [
            {"mediaType": OCI_IMAGE, "digest": digest, "size": 7} for digest in (*listed, str(_LAYER))
        ]
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children}
        manifest = Manifest.parse(json.dumps(document).encode(), OCI_INDEX)
        digest = Digest.of(manifest.content)
        await world.store.manifests.put_content(digest, manifest)
        await world.store.manifests.put_link(NAME, digest, manifest)
    needs = Needs(world.store, Intents(world.driver, world.store.effects))
    other = Digest.of(b"other")
    tracemalloc.start()
    try:
        assert await needs.of(NAME, [_LAYER, other]) == {_LAYER}
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # One of them is read at a time; all that they list would take 270 bytes each.
    assert peak < _INDEXES * _LISTED * 100
