"""What the export writes is what the specification says, as the verifier reads it."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest

from registry.bundles import writing
from registry.bundles.format import Head
from registry.bundles.verify_bundle import SOUND
from registry.model import media_types
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from tests.bundles.sides import Gap
from tests.bundles.test_verifier import document
from tests.inmemory import descriptor, image

APP, BASE = RepositoryName("team/app"), RepositoryName("team/base")


@pytest.fixture
async def gap(tmp_path: Path) -> Gap:
    """A near side with two images that share a layer, an index of one, and what is large."""
    gap = Gap(tmp_path)
    world = gap.near.world
    await world.push(image("one", layers=[b"shared", b"one"]), Tag("v1"), APP)
    await world.push(image("base", layers=[b"shared"]), Tag("latest"), BASE)
    large = os.urandom(40 << 20)
    for blob in (b"{}", large):
        await world.blob(blob, APP)
    fields = {**json.loads(image("large")), "layers": [descriptor(large)], "annotations": {}}
    content = json.dumps(fields).encode()
    await world.push_alone(content, Tag("large"), APP)
    child = {"mediaType": media_types.OCI_IMAGE, "digest": str(Digest.of(content)), "size": len(content)}
    index = {"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": [child]}
    repository = world.repository(APP)
    await repository.push_manifest(Tag("all"), json.dumps(index).encode(), media_types.OCI_INDEX, [])
    return gap


def require_sound(gap: Gap, path: Path, head: Head) -> None:
    """See that the verifier finds nothing."""
    told = document(gap.folder, path, keys=(gap.key,))
    assert told["problems"] == []
    assert told["exit"] == SOUND
    assert told["bundle"]["id"] == head.id
    assert told["signatures"]["keys"] == [gap.key.public.id]


async def test_a_folder_is_sound(gap: Gap) -> None:
    path = gap.folder / "bundle"
    require_sound(gap, path, await gap.near.export(path, gap.key))


class Reluctant(io.FileIO):
    """A file of which a write takes a part, as on a disk that is nearly full."""

    def write(self, data: Any) -> int:
        """At most a third of it, and one byte."""
        return super().write(memoryview(data)[: len(data) // 3 + 1])


async def test_what_a_disk_takes_by_and_by_is_written_whole(
    gap: Gap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "FileIO", Reluctant)
    path = gap.folder / "bundle"
    require_sound(gap, path, await gap.near.export(path, gap.key))


async def test_a_tar_is_sound(gap: Gap) -> None:
    path = gap.folder / "bundle.tar"
    require_sound(gap, path, await gap.near.export(path, gap.key, is_tar=True))


async def test_media_are_sound(gap: Gap) -> None:
    path = gap.folder / "media"
    head = await gap.near.export(path, gap.key, medium_bytes=16 << 20)
    assert head.media > 2
    require_sound(gap, path, head)


async def test_one_that_builds_on_another_is_sound(gap: Gap) -> None:
    await gap.acknowledge(await gap.carry())
    await gap.near.world.push(image("two", layers=[b"shared", b"two"]), Tag("v2"), APP)
    path = gap.folder / "next"
    head = await gap.near.export(path, gap.key)
    assert head.parent is not None
    require_sound(gap, path, head)
