"""Retention beside pushes, copies, deletes and collections: every order of their steps, and deaths at each.

What retention has judged before is its word to keep: a push that came since is not lost to it. Each clause
(ARCHITECTURE.md, "Removing things") is left out once, which must be noticed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from typing import Any

import pytest

from registry.errors import RegistryError
from registry.model.digests import Digest
from registry.model.media_types import OCI_IMAGE, OCI_INDEX
from registry.model.names import RepositoryName, Tag
from registry.removal.claims import Claims, state_of
from registry.removal.hands import Hands
from registry.removal.intents import Intents
from registry.removal.needs import Needs
from registry.removal.releasing import Releasing
from registry.removal.runs import Runs
from registry.removal.trash import Trash
from tests.actors import Watched
from tests.core.collections_explored import (
    IMAGE,
    IMAGE_DIGEST,
    NAME,
    TAG,
    Act,
    Yard,
    acknowledged,
    collecting,
    copying,
    pushing,
)
from tests.exploring import Explored, explore
from tests.interleaving import run

pytestmark = pytest.mark.exhaustive

BY = "retention"
CHILD = {"mediaType": OCI_IMAGE, "digest": str(IMAGE_DIGEST), "size": len(IMAGE)}
INDEX = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [CHILD]}).encode()


def tagged(yard: Yard) -> None:
    """The image has had its tag for three days."""
    older = yard.opened(yard.driver, "older").repository(NAME, "judge")
    run(older.push_manifest(TAG, IMAGE, OCI_IMAGE, []))


def untagged(yard: Yard) -> None:
    """The image has been there without a tag."""
    older = yard.opened(yard.driver, "older").repository(NAME, "judge")
    run(older.push_manifest(IMAGE_DIGEST, IMAGE, OCI_IMAGE, []))


class Court(Yard):
    """A yard in which a push to a tag is a promise about the tag, too."""

    def __init__(self, prepare: Callable[[Yard], None]) -> None:
        super().__init__(prepare)
        store = self.opened(self.driver, "judging").store
        # As retention saw it: whatever is pushed from now on is not in it.
        self.history = state_of(run(store.history.keys(NAME, TAG)))
        self.written = run(store.manifests.written_at(NAME, IMAGE_DIGEST))

    def judge_end(self, results: Mapping[str, object], died: frozenset[str]) -> None:
        """What was acknowledged has its tag; while retention is about to see the push, it may be away."""
        super().judge_end(results, died)
        for name in filter(None, map(acknowledged, results.values())):
            puller = self.opened(self.driver, "puller", read_only=True).repository(name, "puller")
            assert run(puller.manifest(TAG)).content in (IMAGE, INDEX)


async def releasing_tag(yard: Yard, driver: Watched) -> object:
    """Take the tag away, as it was judged."""
    assert isinstance(yard, Court)
    registry = yard.opened(driver, driver.name)
    releasing = Releasing(registry.store, registry.intents, BY)
    return await releasing.release_tag(NAME, TAG, IMAGE_DIGEST, yard.history)


async def releasing_manifest(yard: Yard, driver: Watched) -> object:
    """Take the image away, which no tag led to."""
    assert isinstance(yard, Court)
    registry = yard.opened(driver, driver.name)
    releasing = Releasing(registry.store, registry.intents, BY)
    return await releasing.release_manifests(NAME, {IMAGE_DIGEST: yard.written})


async def deleting_image(yard: Yard, driver: Watched) -> object:
    """Delete the image by its digest."""
    try:
        registry = yard.opened(driver, driver.name)
        return await registry.repository(NAME, "deleter").delete_manifest(IMAGE_DIGEST)
    except RegistryError as error:
        return error


async def pushing_index(yard: Yard, driver: Watched) -> object:
    """Push an index of the image, which is there already."""
    repository = yard.opened(driver, driver.name).repository(NAME, "pusher")
    try:
        await repository.push_manifest(TAG, INDEX, OCI_INDEX, [])
    except RegistryError as error:
        return error
    # Taken before or not: it came back with what the index lists.
    return NAME


def tried(
    *acts: Act, prepare: Callable[[Yard], None], mortal: bool = True, preemptions: int | None = None
) -> Explored:
    named = dict(zip("abc", acts, strict=False))
    court = Court(prepare)
    return explore(lambda: court.copied().situation(named, named if mortal else ()), preemptions=preemptions)


@pytest.mark.parametrize(
    ("act", "releasing", "prepare"),
    [
        (pushing, releasing_tag, tagged),
        (pushing, releasing_manifest, untagged),
        (pushing_index, releasing_manifest, untagged),
        (collecting, releasing_manifest, untagged),
        (releasing_manifest, releasing_manifest, untagged),
        (releasing_tag, releasing_tag, tagged),
        (copying, releasing_manifest, untagged),
        (copying, releasing_tag, tagged),
        (copying, collecting, untagged),
        (copying, deleting_image, tagged),
        (deleting_image, releasing_manifest, untagged),
    ],
)
def test_beside_retention_each_keeps_what_it_was_told(
    act: Act, releasing: Act, prepare: Callable[[Yard], None]
) -> None:
    made = tried(act, releasing, prepare=prepare)
    print(f"{act.__name__} beside {releasing.__name__}: {made}")
    assert made.ends > 10


def test_a_push_between_retention_and_a_collection() -> None:
    made = tried(pushing, releasing_manifest, collecting, prepare=untagged, mortal=False, preemptions=2)
    print(f"pushing beside retention and a collection: {made}")
    assert made.ends > 10


# One clause left out each.


def no_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(self: Claims, *what: Any, **how: Any) -> None:
        pass

    monkeypatch.setattr(Claims, "put_back", nothing)


def the_same_image_is_no_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    put_back = Claims.put_back

    async def other_alone(self: Claims, name: RepositoryName, tag: Tag, judged: Any) -> None:
        await put_back(self, name, tag, judged, removed=IMAGE_DIGEST)

    monkeypatch.setattr(Claims, "put_back", other_alone)


def nobody_finishes(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(self: Claims, *what: Any) -> None:
        pass

    monkeypatch.setattr(Claims, "put_back_newest", nothing)


def no_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(self: Releasing, *what: Any) -> set[Digest]:
        return set()

    monkeypatch.setattr(Releasing, "_needed", nothing)


def links_before_intents(monkeypatch: pytest.MonkeyPatch) -> None:
    async def reversed_(self: Needs, name: RepositoryName) -> set[Digest] | None:
        links = await self._with_manifests(name, set())
        return None if links is None else links | await self._intents.needed(name)

    monkeypatch.setattr(Needs, "of", reversed_)


def no_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(self: Runs, *what: Any) -> None:
        pass

    monkeypatch.setattr(Runs, "mark", nothing)


def no_reader_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(self: Trash, *prefixes: str) -> None:
        pass

    monkeypatch.setattr(Trash, "away", nothing)


def tags_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    async def none(self: Hands, name: RepositoryName) -> dict[Tag, Digest | None]:
        return {}

    monkeypatch.setattr(Hands, "named", none)


def intents_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    async def none(self: Intents, *what: Any) -> Collection[Digest]:
        return frozenset()

    monkeypatch.setattr(Intents, "needed", none)
    monkeypatch.setattr(Intents, "moving", none)


@pytest.mark.parametrize(
    ("mutate", "act", "releasing", "prepare"),
    [
        (no_claims, pushing, releasing_tag, tagged),
        (the_same_image_is_no_claim, pushing, releasing_tag, tagged),
        (nobody_finishes, pushing, releasing_tag, tagged),
        (no_mark, pushing, releasing_tag, tagged),
        (no_second_look, pushing_index, releasing_manifest, untagged),
        (links_before_intents, pushing_index, releasing_manifest, untagged),
        (no_mark, pushing_index, releasing_manifest, untagged),
        (no_reader_fallback, pushing_index, releasing_manifest, untagged),
        (tags_are_not_looked_at, pushing, releasing_manifest, untagged),
        (intents_are_not_looked_at, pushing_index, releasing_manifest, untagged),
    ],
)
def test_each_clause_is_needed(
    mutate: Callable[[pytest.MonkeyPatch], None],
    act: Act,
    releasing: Act,
    prepare: Callable[[Yard], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mutate(monkeypatch)
    with pytest.raises(Exception) as missed:
        tried(act, releasing, prepare=prepare)
    assert any(note.startswith("by way of") for note in missed.value.__notes__)
