"""What the explorations of collection share: a small old store, those who act on it, and who judges."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Mapping
from copy import copy
from datetime import timedelta
from typing import Any, Self

from registry.core.registry import Registry
from registry.core.uploads import UploadLimits
from registry.errors import RegistryError
from registry.model.digests import Digest
from registry.model.media_types import OCI_IMAGE
from registry.model.names import RepositoryName, Tag
from registry.store import layout
from registry.store.store import Store
from registry.upkeep.collection import Rules, collect
from registry.upkeep.reports import Collection as Report
from storage.contract import Driver
from tests.actors import BEGIN, Shelf, Situation, Watched, at, named_effects
from tests.core.explored import CONFIG, CONFIG_DIGEST, Bytes, image
from tests.interleaving import run

NAME = RepositoryName("a/b")
OTHER = RepositoryName("c")
TAG = Tag("t")
IMAGE = image("pushed")
IMAGE_DIGEST = Digest.of(IMAGE)
OLD = image("old")
OLD_DIGEST = Digest.of(OLD)
RULES = Rules(grace=timedelta(hours=1), keep_for=timedelta(days=2), keep_bytes=None)

Act = Callable[["Yard", Watched], Coroutine[Any, Any, object]]


class Yard:
    """A store whose content is three days old, as everybody sees it who comes now."""

    def __init__(self, prepare: Callable[[Yard], None] = lambda _: None) -> None:
        self.day = 0.0
        self.driver = Shelf(clock=lambda: at(self.day))
        judge = self.opened(self.driver, "before")
        run(judge.repository(NAME, "judge").push_blob(CONFIG_DIGEST, Bytes(CONFIG)))
        prepare(self)
        self.day = 3.0

    def copied(self) -> Self:
        """Another one in which all that has happened has happened."""
        yard = copy(self)
        yard.driver = Shelf(clock=lambda: at(yard.day))
        yard.driver.hold(self.driver.holding())
        return yard

    def collect(self, day: float) -> None:
        """Collect as of a day, with nobody beside it."""
        self.day = day
        run(collected(self.opened(self.driver, f"on-{day}").store, now=day))

    def opened(self, driver: Driver, name: str, *, read_only: bool = False) -> Registry:
        """The registry as one process has it."""
        store = Store(driver, named_effects(name, at(self.day)), manifest_cache_bytes=0)
        return Registry(
            store,
            uploads=UploadLimits(open=100, chunks=100, in_flight=100),
            max_references=100,
            allow_missing_layers=False,
            deletes=True,
            read_only=read_only,
        )

    def situation(self, actors: Mapping[str, Act], mortal: Collection[str] = ()) -> Situation:
        """These actors at work, and what must hold of what they were told."""
        situation = Situation(
            self.driver,
            {name: _acting(self, act) for name, act in actors.items()},
            lambda: self.judge(situation.results),
            lambda died: self.judge_end(situation.results, died),
            frozenset(mortal),
        )
        return situation

    def judge(self, results: Mapping[str, object]) -> None:
        """Whoever was told that an image is there can read all of it, whatever happens meanwhile."""
        for name in {repository for repository in map(acknowledged, results.values()) if repository}:
            self.read(name)
        if "mounted" in results.values() and self.day < 3.1:
            self.read_config(OTHER)

    def judge_end(self, results: Mapping[str, object], died: frozenset[str]) -> None:
        """So it is after more collections, and when the trash is emptied; nobody needs the trash for it."""
        self.judge(results)
        names = {name for name in map(acknowledged, results.values()) if name}
        if not died:
            for name in names:
                self.lies(name)
        for day in (3.5, 6.0, 9.0):
            self.day = day
            later = self.opened(self.driver, f"later-{day}")
            run(later.door.finish_open(at(day).timestamp()))
            run(later.intents.sweep(at(day).timestamp()))
            run(collected(later.store, now=day))
            self.judge(results)
        for name in names:
            self.lies(name)

    def read(self, name: RepositoryName) -> None:
        """Read an image as somebody does who may only pull, where nothing may be written."""
        puller = self.opened(self.driver, "puller", read_only=True).repository(name, "puller")
        stored = run(puller.manifest(IMAGE_DIGEST))
        assert stored.content == IMAGE
        self.read_config(name)

    def read_config(self, name: RepositoryName) -> None:
        """Read the config alone."""
        puller = self.opened(self.driver, "puller", read_only=True).repository(name, "puller")
        key, info = run(puller.find_blob(CONFIG_DIGEST))
        assert info.size_bytes == len(CONFIG)
        assert run(self.driver.get(key, limit=100)) == CONFIG

    def lies(self, name: RepositoryName) -> None:
        """Everything of the image lies in its place."""
        for key in (
            layout.layer_link(name, CONFIG_DIGEST),
            layout.blob_data(CONFIG_DIGEST),
            layout.revision_link(name, IMAGE_DIGEST),
            layout.blob_data(IMAGE_DIGEST),
        ):
            run(self.driver.stat(key))


def _acting(yard: Yard, act: Act) -> Callable[[Watched], Coroutine[Any, Any, object]]:
    return lambda driver: act(yard, driver)


def acknowledged(result: object) -> RepositoryName | None:
    """The repository in which somebody was told that the image is there."""
    return result if isinstance(result, RepositoryName) else None


async def pushing(yard: Yard, driver: Watched) -> object:
    """Push an image whose config is there already."""
    return await _push(yard.opened(driver, driver.name), NAME)


async def uploading(yard: Yard, driver: Watched) -> object:
    """Push the config once more, then the image."""
    registry = yard.opened(driver, driver.name)
    await registry.repository(NAME, "uploader").push_blob(CONFIG_DIGEST, Bytes(CONFIG))
    return await _push(registry, NAME)


async def mounting(yard: Yard, driver: Watched) -> object:
    """Mount the config into another repository."""
    registry = yard.opened(driver, driver.name)
    mounted = await registry.repository(OTHER, "mounter").mount(
        CONFIG_DIGEST, NAME, lambda _: True, lambda _: True
    )
    return "mounted" if mounted else None


async def copying(yard: Yard, driver: Watched) -> object:
    """Let a tag in another repository name the image."""
    registry = yard.opened(driver, driver.name)
    target, source = registry.repository(OTHER, "copier"), registry.repository(NAME, "copier")
    try:
        await target.copy(TAG, source, IMAGE_DIGEST, put_back=True, referrers=True)
    except RegistryError as error:
        return error
    return OTHER


async def collecting(yard: Yard, driver: Watched) -> object:
    """Collect once."""
    return await collected(yard.opened(driver, driver.name).store, now=yard.day)


async def deleting(yard: Yard, driver: Watched) -> object:
    """Delete the older image by its digest."""
    registry = yard.opened(driver, driver.name)
    try:
        return await registry.repository(NAME, "deleter").delete_manifest(OLD_DIGEST)
    except RegistryError as error:
        return error


async def _push(registry: Registry, name: RepositoryName) -> object:
    try:
        await registry.repository(name, "pusher").push_manifest(TAG, IMAGE, OCI_IMAGE, [])
    except RegistryError as error:
        return error
    return name


async def _nothing() -> None:
    pass


async def collected(store: Store, *, now: float) -> Report:
    """A whole run."""
    report = Report(began=BEGIN, by="tester", dry_run=False)

    async def save(_: Report) -> None:
        pass

    run_ = collect(store, report, RULES, now=at(now).timestamp(), save=save, step=_nothing, clock=lambda: 0.0)
    async for _ in run_:
        pass
    return report
