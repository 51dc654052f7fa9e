"""The bytes of blobs on their way into a bundle, from a store whose objects are files."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from registry.bundles.portions import portions_of
from registry.errors import StorageDamaged
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.store import layout
from storage.contract import OpenObject
from storage.errors import Unavailable
from storage.local import LocalDriver
from tests.bundles.sides import Side
from tests.inmemory import descriptor, image

APP = RepositoryName("team/app")
LARGE = os.urandom((20 << 20) + 1)  # several portions, the last of a single piece
LAYERS = (LARGE, b"small", b"")


@pytest.fixture
async def driver(tmp_path: Path) -> AsyncIterator[LocalDriver]:
    """A store on a disk."""
    driver = LocalDriver(tmp_path / "store")
    await driver.start()
    yield driver
    await driver.aclose()


@pytest.fixture
async def side(driver: LocalDriver) -> Side:
    """A registry on it with an image that has a large layer, a small one and an empty one."""
    side = Side(driver=driver)
    for blob in (b"{}", *LAYERS):
        await side.world.blob(blob, APP)
    fields = {**json.loads(image("one")), "layers": [descriptor(one) for one in LAYERS], "annotations": {}}
    await side.world.push_alone(json.dumps(fields).encode(), Tag("v1"), APP)
    return side


def stored(driver: LocalDriver, content: bytes) -> Path:
    """Where the bytes lie."""
    return Path(driver.root, layout.blob_data(Digest.of(content)))


@pytest.mark.parametrize("is_tar", [False, True], ids=["folder", "tar"])
async def test_files_are_carried_whole(side: Side, tmp_path: Path, is_tar: bool) -> None:
    far = Side({"import": {"required_signatures": 0}})
    await side.export(tmp_path / "bundle", is_tar=is_tar)
    await far.take_in(tmp_path / "bundle")
    assert {str(Digest.of(one)) for one in LAYERS} <= await far.whole(APP, "v1")


@pytest.mark.parametrize("content", [LARGE, b"small"], ids=["large", "small"])
async def test_a_damaged_file_is_not_carried(
    side: Side, driver: LocalDriver, tmp_path: Path, content: bytes
) -> None:
    file = stored(driver, content)
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(StorageDamaged, match=f"the blob {Digest.of(content)} of team/app cannot be carried"):
        await side.export(tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


class Opened:
    """A file that ends, or cannot be read, once it is open."""

    def __init__(self, file: int, end: int) -> None:
        self.file, self.start, self.end = file, 0, end


async def pieces(opened: Opened) -> bytes:
    """All of it."""
    portions = portions_of(cast(OpenObject, opened), "a/key")
    return b"".join([piece async for portion in portions for piece in portion])


async def test_a_file_that_ends_too_early_is_read_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(LARGE)
    with (tmp_path / "file").open("rb") as opened:
        assert await pieces(Opened(opened.fileno(), len(LARGE) + (9 << 20))) == LARGE


async def test_that_a_file_cannot_be_read_is_told_of_the_store(tmp_path: Path) -> None:
    """And not of the medium that is written, which has to do with files, too."""
    with (tmp_path / "file").open("wb") as opened, pytest.raises(Unavailable, match="a/key"):
        await pieces(Opened(opened.fileno(), 1))
