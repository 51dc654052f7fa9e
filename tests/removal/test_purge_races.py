"""A purge beside whoever else acts: every order of their steps, and a death of either at each of them.

At some time the other's process hears of it. When all have, and it was done again, nothing is left of what
was purged, and whoever was told that something else is there can read that.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from registry.core.registry import Registry
from registry.errors import BlobUnknown, Denied, ManifestUnknown
from registry.model.digests import Digest
from registry.removal.purging import Purging
from registry.store import layout, parsing
from registry.store.blocked import Block, Blocked
from registry.store.store import Store
from storage.contract import Driver
from storage.errors import NotFound
from storage.withholding import WithholdingDriver
from tests.actors import Object, Watched, at, named_effects
from tests.core.acts import (
    collecting,
    copying,
    copying_older,
    deleting,
    deleting_config,
    deleting_image,
    mounting,
    pushing,
    pushing_another,
    pushing_together,
    releasing_manifest,
    releasing_older,
    tried,
    uploading,
)
from tests.core.explored import CONFIG, CONFIG_DIGEST
from tests.core.yard import (
    NAME,
    OLD,
    OLD_DIGEST,
    OTHER,
    Act,
    Prepare,
    Told,
    Yard,
    all_in_the_trash,
    nothing_else,
    older_by_the_tag,
    tagged,
    untagged,
)
from tests.interleaving import run

pytestmark = pytest.mark.exhaustive

HEARD = "heard/a"
"""Under this key lies what the first actor's process knows to be blocked."""


class BlockedAsHeard(Blocked):
    """What is blocked as far as the first actor's process has heard of it."""

    def __init__(self, driver: Watched) -> None:
        super().__init__(driver)
        self._watched = driver
        driver.recall(HEARD, self._recall)

    def _recall(self, heard: Object | None) -> None:
        digests = json.loads(heard[0])["digests"] if heard else ()
        self.digests = frozenset(map(Digest.parse, digests))

    def withholds(self, key: str) -> bool:
        """As ever; whoever is hindered by it has heard of it."""
        withheld = super().withholds(key)
        if withheld:
            self._watched.hear(key)
        return withheld

    def refuse(self, digests: Iterable[Digest]) -> None:
        """As ever; whoever is refused has heard of it."""
        try:
            super().refuse(digests)
        except Denied as error:
            self._watched.hear(error)
            raise


class Leaky(Yard):
    """A yard whose processes go by what is blocked, as far as they have heard of it."""

    def opened(
        self, driver: Driver, name: str, *, read_only: bool = False, ahead: timedelta = timedelta()
    ) -> Registry:
        """The registry as one process has it: an actor's is told by and by, any other knows all."""
        if isinstance(driver, Watched):
            blocked: Blocked = BlockedAsHeard(driver)
        else:
            blocked = Blocked(driver)
            run(blocked.look())
        return self.registry(_store(driver, name, self.day + ahead / timedelta(days=1), blocked), read_only)

    def judge_end(self, results: Mapping[str, object], died: frozenset[str]) -> None:
        """All have heard of it, and it is done again."""
        self._purge_again(self.opened(self.driver, "again"))
        self.judge_purged()
        super().judge_end(results, died)
        self.judge_purged()

    def tidy(self, registry: Registry) -> None:
        """As ever, and each collection purges once more."""
        self._purge_again(registry)
        super().tidy(registry)

    def judge_purged(self) -> None:
        """Nothing is left of it, and nobody can have it."""
        for digest in self._purged():
            gone = {CONFIG_DIGEST: CONFIG, OLD_DIGEST: OLD}.get(digest)
            objects = self.driver.holding()
            assert [key for key, (data, _) in objects.items() if data == gone] == []
            assert [key for key in objects if parsing.content_of(key) == digest] == []
            for name in (NAME, OTHER):
                with pytest.raises((BlobUnknown, ManifestUnknown)):
                    run(self.puller(name).find_blob(digest))
                assert run(self.puller(name).manifest_or_none(digest)) is None

    def judge_rest(self, results: Mapping[str, object]) -> None:
        """Of what needs it something is missing."""
        if CONFIG_DIGEST not in self._purged():
            super().judge_rest(results)

    def may_be_lost(self, told: Told) -> bool:
        """What was purged, or needs it, is lost wherever it is."""
        digests = {CONFIG_DIGEST, Digest.of(told.content), Digest.of(told.needs)}
        return super().may_be_lost(told) or not digests.isdisjoint(self._purged())

    def read_config(self, name: object) -> None:
        """Unless it was purged."""
        if CONFIG_DIGEST not in self._purged():
            super().read_config(name)  # type: ignore[arg-type]

    def _purged(self) -> frozenset[Digest]:
        blocked = Blocked(self.driver)
        run(blocked.look())
        return blocked.digests

    def _purge_again(self, registry: Registry) -> None:
        again = Purging(registry.store, by="collection", step=_go_on)
        run(again.remove(registry.store.blocked.digests))


def _store(driver: Driver, name: str, day: float, blocked: Blocked) -> Store:
    withholding = WithholdingDriver(driver, blocked.withholds)
    effects = named_effects(name, at(day))
    return Store(withholding, effects, manifest_cache_bytes=0, beneath=driver, blocked=blocked)


async def _go_on() -> None:
    """Nobody waits for turns here."""


async def hearing(yard: Yard, driver: Watched) -> object:
    """Let the first actor's process have what it has read of the marks, if there are any; in one step.

    One that has read them earlier, and hears it only now, has read the same.
    """
    for digest in (CONFIG_DIGEST, OLD_DIGEST):
        with suppress(NotFound):
            await driver.copy(HEARD, layout.blocked(digest))
    return None


async def purging_config(yard: Yard, driver: Watched) -> object:
    """Purge the config."""
    return await _purge(yard, driver, CONFIG_DIGEST)


async def purging_older(yard: Yard, driver: Watched) -> object:
    """Purge the older image."""
    return await _purge(yard, driver, OLD_DIGEST)


async def _purge(yard: Yard, driver: Watched, digest: Digest) -> object:
    """As the operation does it, up to where it waits until all have heard of it."""
    blocked = Blocked(driver)
    await blocked.look()
    purging = Purging(_store(driver, driver.name, yard.day, blocked), by="operator", step=_go_on)
    known = blocked.of(digest) is not None
    digests = await purging.same(digest)
    await blocked.put(Block(digests, "operator", datetime(2026, 1, 1, tzinfo=UTC), "it leaked"))
    await purging.remove(digests, everywhere=known)
    return None


BESIDE: list[tuple[Act, Act, Prepare]] = [
    (pushing, purging_config, nothing_else),
    (pushing_together, purging_config, nothing_else),
    (uploading, purging_config, nothing_else),
    (uploading, purging_config, all_in_the_trash),
    (pushing, purging_older, older_by_the_tag),
    (pushing_another, purging_older, older_by_the_tag),
    (mounting, purging_config, nothing_else),
    (mounting, purging_config, all_in_the_trash),
    (deleting_config, purging_config, nothing_else),
    (deleting_image, purging_config, tagged),
    (deleting, purging_older, older_by_the_tag),
    (releasing_manifest, purging_config, untagged),
    (releasing_older, purging_older, older_by_the_tag),
    (copying, purging_config, untagged),
    (copying_older, purging_older, older_by_the_tag),
    (collecting, purging_config, nothing_else),
    (collecting, purging_config, all_in_the_trash),
    (collecting, purging_config, tagged),
    (purging_config, purging_config, untagged),
    (purging_older, purging_older, older_by_the_tag),
]
"""Two purges hear of each other when they begin."""


@pytest.mark.parametrize(("act", "purging", "prepare"), BESIDE)
def test_beside_a_purge_nothing_is_left_of_it_and_all_else_stays(
    act: Act, purging: Act, prepare: Prepare
) -> None:
    others = () if act is purging else (hearing,)
    assert tried(act, purging, *others, prepare=prepare, yard=Leaky, mortal="ab").states > 100
