"""What the tests of collection share: a run over a world in memory, and looks at what lies there after it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from typing import Any

from registry.model.digests import Digest
from registry.model.media_types import OCI_INDEX
from registry.model.names import RepositoryName, Tag
from registry.store import layout
from registry.store.store import Store
from registry.upkeep.collection import Rules, collect
from registry.upkeep.explaining import Explained, explain
from registry.upkeep.reports import Collection
from registry.work.documents import plain, read_plain
from tests.inmemory import NAME, World

RULES = Rules(grace=timedelta(days=1), keep_for=timedelta(days=7), keep_bytes=None)
OTHER = RepositoryName("team/other")
LATER = RULES.grace + timedelta(seconds=1)


class Stopped(Exception):
    """What a process that collects dies of."""


async def no_step() -> None:
    """Nothing comes in between."""


class Run:
    """A collection of a world, which may be stopped and gone on with; `saved` is what a store has of it."""

    def __init__(self, world: World, rules: Rules = RULES, *, dry_run: bool = False) -> None:
        self.world = world
        self.rules = rules
        self.report = Collection(world.clock.now, "tester", dry_run=dry_run)
        self.saved = 0

    async def go(
        self,
        *,
        pieces: int | None = None,
        step: Callable[[], Awaitable[None]] = no_step,
        store: Store | None = None,
        clock: Callable[[], float] = lambda: 0.0,
    ) -> Collection:
        """Collect, from where the report says on, to the end or for so many `pieces` of work."""
        self.report = read_plain(Collection, json.loads(json.dumps(plain(self.report))))
        run = collect(
            store or self.world.store,
            self.report,
            self.rules,
            now=self.world.clock.now.timestamp(),
            save=self._save,
            step=step,
            clock=clock,
        )
        done = 0
        async for _ in run:
            done += 1
            if done == pieces:
                await run.aclose()  # type: ignore[attr-defined]
                break
        return self.report

    async def _save(self, report: Collection) -> None:
        assert not report.dry_run
        self.saved += 1


async def collected(world: World, rules: Rules = RULES, *, dry_run: bool = False) -> Collection:
    """A whole run."""
    return await Run(world, rules, dry_run=dry_run).go()


async def aged(world: World) -> Collection:
    """A run after all that is there has become older than the grace period."""
    world.clock.advance(seconds=LATER.total_seconds())
    return await collected(world)


async def explained(world: World, digest: Digest) -> Explained:
    """Why content stays or goes."""
    now = world.clock.now.timestamp()
    return await explain(world.store, digest, now=now, grace=RULES.grace, step=no_step)


async def tree(world: World) -> dict[str, bytes]:
    """Everything by its key."""
    return {key: await world.driver.get(key, limit=1 << 20) for key in await world.keys()}


async def lies(world: World, content: bytes, name: RepositoryName = NAME) -> bool:
    """Whether an image lies in its place with all that it needs: nobody has to look into the trash."""
    document = json.loads(content)
    blobs = [document["config"], *document["layers"]]
    digests = [Digest.parse(one["digest"]) for one in blobs]
    keys = {layout.revision_link(name, Digest.of(content)), layout.blob_data(Digest.of(content))}
    keys |= {layout.layer_link(name, digest) for digest in digests}
    keys |= {layout.blob_data(digest) for digest in digests}
    return keys <= set(await world.keys())


def places(digest: Digest) -> set[str]:
    """Where a blob of the repository lies."""
    return {layout.layer_link(NAME, digest), layout.blob_data(digest)}


async def push_index(
    world: World,
    children: Iterable[dict[str, Any]],
    reference: Tag | None = None,
    name: RepositoryName = NAME,
) -> bytes:
    """Push an index of descriptors, by its digest unless a tag is given; its bytes."""
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(children)}
    content = json.dumps(document).encode()
    await world.repository(name).push_manifest(reference or Digest.of(content), content, OCI_INDEX, [])
    return content


def another(world: World, driver: Any) -> Store:
    """The store as a process sees it that goes through another driver."""
    return Store(driver, world.store.effects, manifest_cache_bytes=0)


class Interrupted:
    """A driver in whose call of a number something else happens first, as another process would do it."""

    def __init__(self, world: World, number: int, act: Callable[[], Awaitable[object]]) -> None:
        self._world = world
        self._act = act
        self.left = number

    def __getattr__(self, name: str) -> Any:
        return getattr(self._world.driver, name)

    async def _before(self) -> None:
        self.left -= 1
        if self.left == 0:
            await self._act()

    async def get(self, key: str, **how: Any) -> bytes:
        await self._before()
        return await self._world.driver.get(key, **how)

    async def put(self, key: str, data: bytes, **how: Any) -> None:
        await self._before()
        await self._world.driver.put(key, data, **how)

    async def stat(self, key: str) -> Any:
        await self._before()
        return await self._world.driver.stat(key)

    async def copy(self, key: str, source: str) -> None:
        await self._before()
        await self._world.driver.copy(key, source)

    async def children(self, prefix: str, **how: Any) -> list[str]:
        await self._before()
        return await self._world.driver.children(prefix, **how)

    async def delete(self, keys: Any, **how: Any) -> None:
        await self._before()
        await self._world.driver.delete(keys, **how)

    async def walk(self, prefix: str, **how: Any) -> Any:
        await self._before()
        async for key in self._world.driver.walk(prefix, **how):
            yield key
            await self._before()
