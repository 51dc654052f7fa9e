"""Deletes and pushes that meet, in the one order in which more is to be done than each would do alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from registry.core.registry import Registry
from registry.core.uploads import UploadLimits
from registry.errors import Unsupported
from registry.model.digests import Digest
from registry.model.names import Tag
from registry.store import layout
from registry.store.store import Store
from registry.upkeep.crash.acts import CONFIG, OLD, SPARE, first, image, second
from registry.upkeep.crash.client import Client
from registry.upkeep.crash.ledger import Fact
from storage.contract import Driver

_STUCK_SECONDS = 60


class Gated:
    """A driver that does something of the test's before or after its calls."""

    def __init__(self, inner: Driver, around: Callable[[str, Any, bool], Awaitable[None]]) -> None:
        self._inner = inner
        self._around = around

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        if name not in ("put", "copy", "delete"):
            return method

        async def call(*arguments: Any, **options: Any) -> Any:
            await self._around(name, arguments[0], False)
            result = await method(*arguments, **options)
            await self._around(name, arguments[0], True)
            return result

        return call


async def delete_a_needed_blob(client: Client) -> None:
    """The blob's link goes after the push has seen it, and comes back when the push was acknowledged."""
    checked, away, pushed = asyncio.Event(), asyncio.Event(), asyncio.Event()
    needing = image("needing", CONFIG, SPARE)
    link = layout.layer_link(OLD, Digest.of(SPARE))
    blob = Fact("blob", OLD, str(Digest.of(SPARE)))
    copy = Fact("trash", OLD, f"blob {blob.which}")

    async def remover(call: str, key: object, after: bool) -> None:
        if call == "copy" and not after:
            await checked.wait()
        if call == "delete" and key == [link] and after:
            away.set()
            await pushed.wait()

    async def writer(call: str, key: object, after: bool) -> None:
        if call == "put" and key == layout.blob_data(Digest.parse(needing.digest)) and not after:
            checked.set()
            await away.wait()

    async def push() -> None:
        await Client(_seen(client.registry, writer), client.tell).manifest(OLD, needing, "needing")
        client.tell(blob, blob.which, True)
        pushed.set()

    async def delete() -> None:
        client.tell(blob, None, False)
        client.tell(copy, str(copy), False)
        with suppress(Unsupported):
            await _seen(client.registry, remover).repository(OLD, "rehearsal").delete_blob(Digest.of(SPARE))
            raise AssertionError("the blob is needed")
        client.tell(copy, None, True)  # or it would be taken for one that a user has deleted

    await asyncio.gather(push(), delete())


async def delete_a_tag_twice(client: Client) -> None:
    """A tag that goes with its manifest is pushed, and that deleted, while it is put back for the push.

    Within that nothing is promised of the tag: only that it is gone when both deletions have been told.
    """
    tag = Tag("moving")
    link = layout.tag_link(OLD, tag)
    away, pushed, coming, gone = (asyncio.Event() for _ in range(4))

    async def remover(call: str, key: Any, after: bool) -> None:
        if call == "delete" and link in key and after and not away.is_set():
            away.set()
            await pushed.wait()
        if call == "put" and key == link and not after:
            coming.set()
            await gone.wait()

    async def push() -> None:
        await away.wait()
        await Client(client.registry, lambda *_: None).manifest(OLD, second(), tag)
        pushed.set()

    async def delete_again() -> None:
        await coming.wait()
        await client.registry.repository(OLD, "rehearsal").delete_tag(tag)
        gone.set()

    client.tell(Fact("tag", OLD, tag), second().digest, False)
    deleting = Client(_seen(client.registry, remover), client.tell).delete_manifest(
        OLD, first(), "first", tag
    )
    await asyncio.wait_for(asyncio.gather(deleting, push(), delete_again()), _STUCK_SECONDS)


def _seen(registry: Registry, around: Callable[[str, Any, bool], Awaitable[None]]) -> Registry:
    """The registry as another process has it, through a gated driver."""
    driver: Any = Gated(registry.store.driver, around)
    return Registry(
        Store(driver, registry.store.effects, manifest_cache_bytes=0),
        uploads=UploadLimits(open=100, chunks=100, in_flight=100),
        max_references=100,
        allow_missing_layers=False,
        deletes=True,
        read_only=False,
    )
