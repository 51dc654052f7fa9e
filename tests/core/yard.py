"""What explorations of pairs share: a small old store, what those who act on it are told, and who judges."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Mapping
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

from registry.core.registry import Registry, Repository
from registry.core.uploads import UploadLimits
from registry.errors import ManifestUnknown
from registry.model.digests import Digest
from registry.model.media_types import OCI_IMAGE
from registry.model.names import RepositoryName, Tag
from registry.removal.claims import state_of
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
Prepare = Callable[["Yard"], None]


@dataclass(frozen=True)
class Told:
    """Somebody was told that a manifest is there, under the tag: the image, or another `content`.

    `needs` is the image that can be pulled by it.
    """

    name: RepositoryName
    content: bytes = IMAGE
    needs: bytes = IMAGE


@dataclass(frozen=True)
class Gone:
    """Somebody was told that a manifest is gone from the first repository."""

    digest: Digest


UNTAGGED = "untagged"
"""Somebody was told that the tag is gone, and nobody pushes it after that."""

MOUNTED = "mounted"
"""Somebody was told that the other repository has the config."""


def nothing_else(_: Yard) -> None:
    """Only the config is there, and nothing needs it."""


def an_older_image(yard: Yard) -> None:
    """An image that is tagged, with the same config."""
    yard.push(Tag("old"), OLD)


def all_in_the_trash(yard: Yard) -> None:
    """A collection has taken the config half a day after it came; today the trash is to be emptied of it."""
    yard.collect(0.5)


def tagged(yard: Yard) -> None:
    """The image has had its tag for three days."""
    yard.push(TAG, IMAGE)


def untagged(yard: Yard) -> None:
    """The image has been there without a tag."""
    yard.push(IMAGE_DIGEST, IMAGE)


def older_by_the_tag(yard: Yard) -> None:
    """Another image has had the tag."""
    yard.push(TAG, OLD)


class Yard:
    """A store whose content is three days old, as everybody sees it who comes now.

    Whoever is told that something is there goes by that unless somebody deletes it: of what `losing` names
    it may be gone, and never half of it there.
    """

    def __init__(self, prepare: Prepare = nothing_else) -> None:
        self.day = 0.0
        self.driver = Shelf(clock=lambda: at(self.day))
        self.losing: frozenset[Digest | Tag] = frozenset()
        judge = self.opened(self.driver, "before")
        run(judge.repository(NAME, "judge").push_blob(CONFIG_DIGEST, Bytes(CONFIG)))
        prepare(self)
        self.day = 3.0
        # As retention saw it: whatever is pushed from now on is not in it.
        store = self.opened(self.driver, "judging").store
        self.history = state_of(run(store.history.keys(NAME, TAG)))
        self.written = 0.0
        with suppress(ManifestUnknown):
            self.written = run(store.manifests.written_at(NAME, IMAGE_DIGEST))

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

    def push(self, reference: Tag | Digest, content: bytes) -> None:
        """Push a manifest, with nobody beside it."""
        older = self.opened(self.driver, "older").repository(NAME, "judge")
        run(older.push_manifest(reference, content, OCI_IMAGE, []))

    def opened(
        self, driver: Driver, name: str, *, read_only: bool = False, ahead: timedelta = timedelta()
    ) -> Registry:
        """The registry as one process has it, whose clock may be ahead."""
        effects = named_effects(name, at(self.day) + ahead)
        return self.registry(Store(driver, effects, manifest_cache_bytes=0), read_only)

    @staticmethod
    def registry(store: Store, read_only: bool) -> Registry:
        """A registry on a store."""
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
        for told in self._told(results):
            if not self.may_be_lost(told):
                self.read(told)
        if MOUNTED in results.values() and self.day < 3.1:
            self.read_config(OTHER)

    def judge_end(self, results: Mapping[str, object], died: frozenset[str]) -> None:
        """So it is after more collections, and when the trash is emptied; nobody needs the trash for it."""
        self.judge(results)
        kept = [told for told in self._told(results) if not self.may_be_lost(told)]
        if not died:
            self.judge_rest(results)
            for told in kept:
                self.lies(told)
        for day in (3.5, 6.0, 9.0):
            self.day = day
            self.tidy(self.opened(self.driver, f"later-{day}"))
            self.judge(results)
        for told in kept:
            self.lies(told)
            self.read_tag(told, results, died)
        if UNTAGGED in results.values():
            assert run(self.puller(NAME)._store.links.target(NAME, TAG)) is None

    def tidy(self, registry: Registry) -> None:
        """What servers do by and by."""
        run(registry.door.finish_open(at(self.day).timestamp()))
        run(registry.intents.sweep(at(self.day).timestamp()))
        run(collected(registry.store, now=self.day))

    def judge_rest(self, results: Mapping[str, object]) -> None:
        """Where nobody has died, what is there is there whole, and what was deleted is not."""
        told = {told.name: told for told in self._told(results)}
        for name in (NAME, OTHER):
            puller = self.puller(name)
            links = puller._store.links
            for tag in run(links.tags(name)):
                run(puller.manifest(tag))

            async def manifests() -> list[Digest]:
                return [digest async for digest in links.manifests(name)]  # noqa: B023 - called at once

            for digest in run(manifests()):
                run(puller.manifest(digest))
                self.read_config(name)
        for gone in results.values():
            if isinstance(gone, Gone) and NAME not in told:
                assert run(self.puller(NAME).manifest_or_none(gone.digest)) is None

    def may_be_lost(self, told: Told) -> bool:
        """Whether somebody may have taken it away since it was told."""
        return told.name == NAME and not self.losing.isdisjoint(map(Digest.of, (told.content, told.needs)))

    def puller(self, name: RepositoryName) -> Repository:
        """A repository for somebody who may only pull, where nothing may be written."""
        return self.opened(self.driver, "puller", read_only=True).repository(name, "puller")

    def read(self, told: Told) -> None:
        """Read a manifest, and what can be pulled by it."""
        puller = self.puller(told.name)
        for content in {told.content, told.needs}:
            assert run(puller.manifest(Digest.of(content))).content == content
        self.read_config(told.name)

    def read_tag(self, told: Told, results: Mapping[str, object], died: frozenset[str]) -> None:
        """Read by the tag what anybody has pushed last; whoever died may have."""
        if TAG in self.losing and told.name == NAME:
            return
        content = run(self.puller(told.name).manifest(TAG)).content
        pushed = {one.content for one in self._told(results) if one.name == told.name}
        assert content in pushed or died

    def read_config(self, name: RepositoryName) -> None:
        """Read the config alone."""
        key, info = run(self.puller(name).find_blob(CONFIG_DIGEST))
        assert info.size_bytes == len(CONFIG)
        assert run(self.driver.get(key, limit=100)) == CONFIG

    def lies(self, told: Told) -> None:
        """Everything of it lies in its place."""
        for key in (
            layout.layer_link(told.name, CONFIG_DIGEST),
            layout.blob_data(CONFIG_DIGEST),
            *(layout.revision_link(told.name, Digest.of(one)) for one in (told.content, told.needs)),
            *(layout.blob_data(Digest.of(one)) for one in (told.content, told.needs)),
        ):
            run(self.driver.stat(key))

    def _told(self, results: Mapping[str, object]) -> list[Told]:
        return [told for told in results.values() if isinstance(told, Told)]


def _acting(yard: Yard, act: Act) -> Callable[[Watched], Coroutine[Any, Any, object]]:
    return lambda driver: act(yard, driver)


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
