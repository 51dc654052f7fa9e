"""The two sides of a gap: registries in memory that share nothing but folders."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from registry.bundles.bundles import Bundles, Place
from registry.bundles.exporting import NOTHING, Belief
from registry.bundles.format import Head
from registry.bundles.importing import Judged, Wish
from registry.bundles.keys import SigningKey, new_key, write_key
from registry.bundles.received import Done
from registry.bundles.selecting import Images, Selected
from registry.bundles.settings import BundlesSettings, StreamSettings
from registry.bundles.sources import OwnSource, Source
from registry.bundles.statement import Statement
from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.model.patterns import RepositoryPattern
from registry.work.operations import Context, Operation, Result
from storage.contract import Driver
from tests.inmemory import World

OPERATOR = Context("operator")
EVERYTHING = StreamSettings(name="weekly", repositories=(RepositoryPattern("team/**"),))


async def outcome(
    operations: Iterable[Operation[Any]], name: str, asked: object, context: Context = OPERATOR
) -> Result:
    """What came of an operation."""
    operation = next(one for one in operations if one.name == name)
    *_, last = [step async for step in operation.run(asked, context)]
    assert isinstance(last, Result)
    return last


async def done(
    operations: Iterable[Operation[Any]], name: str, asked: object, context: Context = OPERATOR
) -> Any:
    """The value of that."""
    return (await outcome(operations, name, asked, context)).value


class Side:
    """One registry with its bundles."""

    def __init__(self, settings: dict[str, Any] | None = None, driver: Driver | None = None) -> None:
        self.world = World(driver=driver)
        self.bundles = Bundles(
            lambda: self.world.registry,
            BundlesSettings.model_validate(settings or {}),
            self._now,
            self._remote,
            who="tester",
        )

    async def _now(self) -> float:
        return self.world.clock.now.timestamp()

    @asynccontextmanager
    async def _remote(self, url: str) -> AsyncIterator[Source]:
        raise AssertionError(url)
        yield

    @property
    def source(self) -> Source:
        """Its content, as a source."""
        return OwnSource(self.world.registry)

    async def select(
        self, wanted: StreamSettings | Images = EVERYTHING, *, allow_sparse: bool = False
    ) -> Selected:
        """What is selected of it."""
        async for step in self.bundles.select(self.source, wanted, allow_sparse=allow_sparse):
            if isinstance(step, Selected):
                return step
        raise AssertionError

    async def export(
        self,
        path: Path,
        key: SigningKey | None = None,
        *,
        wanted: StreamSettings | Images = EVERYTHING,
        belief: Belief | None = None,
        medium_bytes: int | None = None,
        is_tar: bool = False,
        allow_sparse: bool = False,
    ) -> Head:
        """Write a bundle that builds on what was acknowledged."""
        selected = await self.select(wanted, allow_sparse=allow_sparse)
        name = wanted.name if isinstance(wanted, StreamSettings) else "images"
        if belief is None:
            belief = await self.bundles.exporting.believed(name, selected.statement, one_way=False)
        order = await self.bundles.order(name, wanted, selected, belief, medium_bytes)
        async for step in self.bundles.write(order, self.source, lambda _: Place(path, is_tar), key):
            if isinstance(step, Head):
                return step
        raise AssertionError

    async def take_in(self, *paths: Path, maps: Sequence[str] = (), **wish: Any) -> Judged:
        """Import a bundle, and do what was decided."""
        judged = None
        rules = self.bundles.rules(maps)
        async for step in self.bundles.take_in(list(paths), rules, Wish("importer", **wish)):
            if isinstance(step, Judged):
                judged = step
        assert judged is not None
        if judged.is_staged:
            await self.finish(judged.head.id)
        return judged

    async def finish(self, bundle: str) -> Done | None:
        """Do what was decided."""
        done = None
        async for step in self.bundles.finish(bundle, "tester"):
            if isinstance(step, Done):
                done = step
        return done

    async def tags(self, prefix: str = "") -> dict[str, str]:
        """What all tags name that were not put below `staged/`."""
        found = {}
        async for name in self.world.store.catalog.names():
            if name.startswith(prefix) and not name.startswith("staged/"):
                for tag in await self.world.store.links.tags(name):
                    found[f"{name}:{tag}"] = str(await self.world.store.links.tag(name, tag))
        return found

    async def whole(self, name: str, tag: str) -> set[str]:
        """All that belongs to a tag, read to its last byte."""
        repository = self.world.repository(RepositoryName(name))
        pending = [await self.world.store.links.tag(RepositoryName(name), Tag(tag))]
        found: set[str] = set()
        while pending:
            digest = pending.pop()
            stored = await repository.manifest(digest)
            found.add(str(digest))
            manifest = stored.parse()
            for blob in manifest.required_blobs:
                async with repository.open_blob(blob.digest) as opened:
                    content = b"".join([piece async for piece in opened.chunks()])
                assert Digest.of(content) == blob.digest
                found.add(str(blob.digest))
            pending += [one.digest for one in manifest.children]
        return found


class Gap:
    """Both sides, a key that the far one trusts, and a folder between them."""

    def __init__(self, folder: Path, far: dict[str, Any] | None = None) -> None:
        self.folder = folder
        self.key = new_key("ecdsa-p256")
        _, public = write_key(self.key, folder)
        self.near = Side({"export": {"source": "near.example"}})
        self.far = Side({"import": {"trusted_keys": [str(public)], **(far or {})}})
        self._number = 0

    async def carry(self, **how: Any) -> Judged:
        """Write a bundle on the near side, and import it on the far one."""
        self._number += 1
        path = self.folder / f"bundle-{self._number}"
        await self.near.export(path, self.key, **how)
        return await self.far.take_in(path)

    async def acknowledge(self, judged: Judged) -> None:
        """Let the near side know that it has arrived."""
        await self.near.bundles.exporting.sent.note(judged.head, "acknowledged")


def stated(judged: Judged) -> Statement:
    """What a bundle states."""
    return judged.statement


__all__ = ["EVERYTHING", "NOTHING", "Gap", "Side", "stated"]
