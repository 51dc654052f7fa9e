"""What came from upstreams, and is damaged or lost here, a scrub has again from them."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from registry.errors import BlobUnknown
from registry.mirror.mirrors import Mirrors
from registry.model.digests import Digest
from registry.model.media_types import OCI_ARTIFACT
from registry.model.names import RepositoryName
from registry.store import layout
from registry.upkeep.scrub_reports import Scrub, ScrubReports
from registry.upkeep.scrubbing import Scrubbing
from registry.upkeep.settings import ScrubSettings
from storage.errors import Unavailable
from tests.inmemory import image
from tests.mirror.shelf import HERE, LATEST, Around

Make = Callable[..., Around]

TEAM = RepositoryName("team/app")
LAYER = os.urandom(3 << 20)
OTHER = RepositoryName("hub/library/other")


def scrubbing(hub: Around) -> Scrubbing:
    """A process that scrubs, before the upstreams of the namespace."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Mirrors]:
        yield Mirrors(hub.world.registry, [hub.mirror])

    settings = ScrubSettings.model_validate({"bytes_per_second": "0B"})
    return Scrubbing(lambda: hub.world.registry, settings, who="one", scheduled=True, sources=opened)


async def scrubbed(hub: Around) -> Scrub:
    return [report async for report in scrubbing(hub).run("tester")][-1]


async def held(hub: Around) -> tuple[Digest, Digest]:
    """An image that was pulled, whole; its digest and that of its layer."""
    digest = hub.shelf.add(image("one", layers=[LAYER]), "latest")
    await hub.repository().manifest(LATEST)
    layer = Digest.of(LAYER)
    for blob in (layer, Digest.of(b"{}")):
        await hub.read(blob)
    return digest, layer


async def pulled(hub: Around, digest: Digest, name: RepositoryName = HERE) -> bytes:
    """A blob as it lies here, with nobody asked for it."""
    async with hub.world.repository(name).open_blob(digest) as opened:
        return b"".join([piece async for piece in opened.chunks()])


async def spoil(hub: Around, digest: Digest) -> None:
    key = layout.blob_data(digest)
    data = await hub.world.driver.get(key, limit=8 << 20)
    await hub.world.driver.put(key, bytes([data[0] ^ 1]) + data[1:])


@pytest.mark.parametrize("lost", [False, True])
async def test_damaged_and_missing_content_is_fetched_again(around: Make, lost: bool) -> None:
    hub = around()
    manifest, layer = await held(hub)
    for digest in (manifest, layer):
        if lost:
            await hub.world.remove_all([layout.blob_data(digest)])
        else:
            await spoil(hub, digest)
    calls = hub.shelf.calls.copy()
    report = await scrubbed(hub)
    assert {(one.content, one.outcome, one.source) for one in report.damaged} == {
        (str(manifest), "fetched", "shelf"),
        (str(layer), "fetched", "shelf"),
    }
    assert report.fetched == 2 and report.ended
    assert "fetched again from shelf; linked by hub/library/app" in report.told()
    assert hub.shelf.calls - calls == {"manifest": 1, "blob": 1}
    hub.shelf.fail("unreachable")
    assert await pulled(hub, layer) == LAYER
    assert (await hub.world.repository(HERE).manifest(LATEST)).digest == manifest
    assert (await scrubbed(hub)).damaged == []


async def test_a_dry_run_asks_nobody(around: Make) -> None:
    hub = around()
    manifest, layer = await held(hub)
    await spoil(hub, manifest)
    await hub.world.remove_all([layout.blob_data(layer)])
    calls, before = hub.shelf.calls.copy(), await hub.world.keys()
    report = [report async for report in scrubbing(hub).rehearse("tester")][-1]
    assert {one.outcome for one in report.damaged} == {"left", "missing"} and report.fetched == 0
    assert (hub.shelf.calls, await hub.world.keys()) == (calls, before)


async def test_what_the_upstreams_do_not_give_is_told_and_asked_for_by_the_next_scrub(around: Make) -> None:
    hub = around(rest_for="0s")
    _, layer = await held(hub)
    await spoil(hub, layer)
    hub.shelf.fail("failing", "it answered 500")
    (one,) = (await scrubbed(hub)).damaged
    assert one.outcome == "set aside" and "it answered 500" in one.reason
    assert "not fetched again: it is not held here, and shelf: it answered 500" in one.told()
    with pytest.raises(BlobUnknown):
        await pulled(hub, layer)
    hub.shelf.failure = None
    (one,) = (await scrubbed(hub)).damaged
    assert (one.outcome, one.reason) == ("fetched", "")
    assert await pulled(hub, layer) == LAYER


async def test_what_was_pushed_elsewhere_is_not_asked_for(around: Make) -> None:
    hub = around()
    await held(hub)
    await hub.world.push(image("ours"), name=TEAM)
    hub.shelf.add_blob(b"layer")
    await spoil(hub, Digest.of(b"layer"))
    calls = hub.shelf.calls.copy()
    (one,) = (await scrubbed(hub)).damaged
    assert one.outcome == "set aside" and one.reason == "" and hub.shelf.calls == calls


async def test_one_that_has_it_heals_all_who_link_to_it(around: Make) -> None:
    hub = around()
    _, layer = await held(hub)
    await hub.world.blob(LAYER, TEAM)
    await hub.read(layer, name=OTHER)
    await spoil(hub, layer)
    calls = hub.shelf.calls["blob"]
    (one,) = (await scrubbed(hub)).damaged
    assert (one.outcome, one.repositories) == ("fetched", [HERE, OTHER, TEAM])
    assert hub.shelf.calls["blob"] == calls + 1
    for name in (HERE, OTHER, TEAM):
        assert await pulled(hub, layer, name) == LAYER


async def test_a_manifest_that_lies_whole_comes_again(around: Make) -> None:
    hub = around()
    content = json.dumps({"mediaType": OCI_ARTIFACT, "artifactType": "application/x-own"}).encode()
    hub.shelf.manifests[str(Digest.of(content))] = content
    digest = (await hub.repository().manifest(Digest.of(content))).digest
    key = layout.whole_manifest(HERE, digest)
    before = await hub.world.driver.get(key, limit=1 << 20)
    await hub.world.driver.put(key, before[:-1] + b"!")
    (one,) = (await scrubbed(hub)).damaged
    assert (one.key, one.outcome) == (key, "fetched")
    assert await hub.world.driver.get(key, limit=1 << 20) == before


async def test_what_the_storage_cannot_read_is_replaced(
    around: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = around()
    manifest, layer = await held(hub)
    broken = {layout.blob_data(digest) for digest in (manifest, layer)}
    reading, writing = hub.world.driver.open, hub.world.driver.compose
    putting = hub.world.driver.put

    def opened(key: str, *where: Any) -> Any:
        if key in broken:
            raise Unavailable(key, "the disk cannot read it")
        return reading(key, *where)

    async def composed(key: str, *rest: Any, **more: Any) -> None:
        broken.discard(key)
        await writing(key, *rest, **more)

    async def put(key: str, *rest: Any, **more: Any) -> None:
        broken.discard(key)
        await putting(key, *rest, **more)

    for name, method in (("open", opened), ("compose", composed), ("put", put)):
        monkeypatch.setattr(hub.world.counted, name, method, raising=False)
    report = await scrubbed(hub)
    assert [one.outcome for one in report.damaged] == ["fetched", "fetched"]
    assert await pulled(hub, layer) == LAYER
    assert (await scrubbed(hub)).damaged == []


async def test_a_lie_is_not_kept(around: Make) -> None:
    hub = around()
    _, layer = await held(hub)
    await spoil(hub, layer)
    hub.shelf.blobs[str(layer)] = os.urandom(len(LAYER))
    (one,) = (await scrubbed(hub)).damaged
    assert one.outcome == "set aside" and "what it gave for the blob" in one.reason
    with pytest.raises(BlobUnknown):
        await pulled(hub, layer)


async def test_what_the_trash_has_is_not_missing(around: Make) -> None:
    hub = around()
    _, layer = await held(hub)
    key = layout.blob_data(layer)
    await hub.world.driver.copy(f"{layout.trash_data(layer)}/c-1", key)
    await hub.world.remove_all([key])
    assert (await scrubbed(hub)).damaged == []


async def test_what_was_deleted_meanwhile_stays_away(around: Make) -> None:
    hub = around()
    manifest, layer = await held(hub)
    for digest in (manifest, layer):
        await spoil(hub, digest)
    async for report in scrubbing(hub).run("tester"):
        if report.fetched == 1:
            links = layout.revision_link(HERE, manifest), layout.layer_link(HERE, layer)
            await hub.world.remove_all(links)
    assert sorted(one.outcome for one in report.damaged) == ["fetched", "set aside"]


async def test_the_log_tells_it(around: Make, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    hub = around()
    _, layer = await held(hub)
    await spoil(hub, layer)
    await scrubbing(hub).if_due()
    told = [one.message for one in caplog.records if one.message.startswith("scrub.")]
    assert told == ["scrub.damaged", "scrub.repaired", "scrub.ended"]
    (report,) = await ScrubReports(hub.world.store).last(10)
    assert report.fetched == 1
