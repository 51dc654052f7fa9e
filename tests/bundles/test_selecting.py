"""What is selected by platform: an index goes whole, but not one that has nothing for them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from registry.bundles.errors import BundleRefused
from registry.bundles.selecting import Images
from registry.bundles.settings import StreamSettings
from registry.bundles.statement import key_of
from registry.model.digests import Digest
from registry.model.media_types import OCI_IMAGE, OCI_INDEX
from registry.model.names import RepositoryName, Tag
from registry.model.patterns import RepositoryPattern
from registry.model.platforms import Platform
from tests.bundles.sides import Side
from tests.inmemory import image

APP, V1 = RepositoryName("team/app"), Tag("v1")


async def of_two(side: Side) -> dict[str, Digest]:
    """Push an image for two platforms; their digests."""
    made = {}
    manifests: list[dict[str, Any]] = []
    for name in ("amd64", "arm64"):
        content = image(name)
        made[name] = await side.world.push(content, Digest.of(content), APP)
        platform = {"os": "linux", "architecture": name}
        manifests.append(
            {"mediaType": OCI_IMAGE, "digest": str(made[name]), "size": len(content), "platform": platform}
        )
    index = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}).encode()
    repository = side.world.repository(APP)
    made["index"] = (await repository.push_manifest(V1, index, OCI_INDEX, [])).digest
    return made


def asked(*platforms: str) -> Images:
    """The image by its name."""
    return Images([(APP, V1, None)], [Platform(one) for one in platforms])


async def test_of_an_index_goes_what_is_for_the_platform() -> None:
    side = Side()
    made = await of_two(side)
    statement = (await side.select(asked("linux/amd64"))).statement
    assert set(statement.manifests) == {key_of(made[one]) for one in ("amd64", "index")}


@pytest.mark.parametrize("platforms", [["linux/riscv64"], ["linux/riscv64", "linux/amd46"]])
async def test_an_index_without_any_of_the_platforms_is_told_by_its_name(platforms: list[str]) -> None:
    side = Side()
    made = await of_two(side)
    stream = StreamSettings(
        name="weekly", repositories=(RepositoryPattern("**"),), platforms=tuple(map(Platform, platforms))
    )
    for wanted in (asked(*platforms), stream):
        told = f"an image for {', '.join(platforms)}, of which team/app:v1 lists none"
        with pytest.raises(BundleRefused, match=told):
            await side.select(wanted)
        sparse = await side.select(wanted, allow_sparse=True)
        assert set(sparse.statement.manifests) == {key_of(made["index"])}


async def test_a_platform_that_none_of_the_images_has_is_told() -> None:
    side = Side()
    await of_two(side)
    with pytest.raises(
        BundleRefused, match=r"image for linux/amd46, which no index here lists.*--allow-sparse"
    ):
        await side.select(asked("linux/amd64", "linux/amd46"))
    assert (await side.select(asked("linux/amd64", "linux/amd46"), allow_sparse=True)).statement.manifests
