"""Eviction beside those who push, or pin, what is just going: every order of their steps, and deaths at each.

Tags, and what manifests list, go as by retention (tests/core/test_retention_races.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

import pytest

from registry.mirror import evicting
from registry.mirror.holdings import Holding
from registry.mirror.repository import NamespaceRepository
from registry.model.digests import Digest
from registry.model.media_types import OCI_IMAGE
from registry.model.names import RepositoryName
from registry.model.tag_rights import EVERY_TAG
from registry.removal.releasing import Releasing
from registry.removal.trash import CACHED
from registry.store.store import Store
from tests.actors import Watched
from tests.core.acts import collecting, tried
from tests.core.yard import IMAGE, IMAGE_DIGEST, NAME, Act, Told, Yard, untagged

pytestmark = pytest.mark.exhaustive


class Untagged(Yard):
    """A yard of which nobody is told a tag."""

    def read_tag(self, told: Told, results: Mapping[str, object], died: frozenset[str]) -> None:
        """There is none."""


async def pushing(yard: Yard, driver: Watched) -> object:
    """Push the image by its digest, which came from elsewhere before."""
    registry = yard.opened(driver, driver.name)
    repository = NamespaceRepository(registry, NAME, driver.name, EVERY_TAG)
    await repository.push_manifest(IMAGE_DIGEST, IMAGE, OCI_IMAGE, [])
    return Told(NAME)


async def pinning(yard: Yard, driver: Watched) -> object:
    """Pin the image, and see whether it is held."""
    store = yard.opened(driver, driver.name).store
    await store.pins.put(NAME, IMAGE_DIGEST, driver.name)
    return Told(NAME) if await store.manifests.exists(NAME, IMAGE_DIGEST) else None


async def evicting_it(yard: Yard, driver: Watched) -> object:
    """Take the image away, which nobody had pushed or pinned."""
    registry = yard.opened(driver, driver.name)
    chosen = [Holding(NAME, IMAGE_DIGEST, yard.written, {}, (date.min, 0.0), ())]
    releasing = Releasing(registry.store, registry.intents, "eviction", cached=True)
    judged = {IMAGE_DIGEST: yard.written}
    await releasing.release_manifests(NAME, judged, lambda: evicting.kept_since(registry.store, NAME, chosen))
    return None


@pytest.mark.parametrize("act", [pushing, pinning])
def test_what_is_pushed_or_pinned_meanwhile_stays(act: Act) -> None:
    assert tried(act, evicting_it, prepare=untagged, yard=Untagged).ends > 10


def test_an_eviction_beside_a_collection_leaves_nothing_half() -> None:
    assert tried(collecting, evicting_it, prepare=untagged, yard=Untagged).ends > 10


# One clause left out each.


def nobody_looks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(store: Store, name: RepositoryName, some: Sequence[Holding]) -> set[Digest]:
        return set()

    monkeypatch.setattr(evicting, "kept_since", nothing)


def who_pushes_does_not_look_behind_the_note(monkeypatch: pytest.MonkeyPatch) -> None:
    async def blindly(self: NamespaceRepository, *what: Any) -> Any:
        pushed = await super(NamespaceRepository, self).push_manifest(*what)
        await self._store.origins.note_here(self.name, pushed.digest)
        return pushed

    monkeypatch.setattr(NamespaceRepository, "push_manifest", blindly)


def who_dies_is_not_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry.removal.door.CACHED", f"not {CACHED}")


@pytest.mark.parametrize(
    ("mutate", "act"),
    [
        (nobody_looks_again, pushing),
        (nobody_looks_again, pinning),
        (who_pushes_does_not_look_behind_the_note, pushing),
        (who_dies_is_not_undone, pinning),
    ],
)
def test_each_clause_is_needed(
    mutate: Callable[[pytest.MonkeyPatch], None], act: Act, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutate(monkeypatch)
    with pytest.raises(Exception) as missed:
        tried(act, evicting_it, prepare=untagged, yard=Untagged)
    assert any(note.startswith("by way of") for note in missed.value.__notes__)
