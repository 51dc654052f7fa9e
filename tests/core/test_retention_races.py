"""Retention beside pushes, copies, deletes and collections: every order of their steps, and deaths at each.

What retention has judged before is its word to keep: a push that came since is not lost to it. Each clause
(ARCHITECTURE.md, "Removing things") is left out once, which must be noticed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import pytest

from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.removal.claims import Claims
from registry.removal.hands import Hands
from registry.removal.intents import Intents
from registry.removal.needs import Needs
from registry.removal.releasing import Releasing
from registry.removal.runs import Runs
from registry.removal.trash import Trash
from tests.core.acts import (
    collecting,
    copying,
    deleting_image,
    pushing,
    pushing_index,
    pushing_together,
    releasing_manifest,
    releasing_tag,
    tried,
)
from tests.core.yard import IMAGE_DIGEST, Act, Prepare, tagged, untagged

pytestmark = pytest.mark.exhaustive

BESIDE = [
    (pushing, releasing_tag, tagged),
    (pushing, releasing_manifest, untagged),
    (pushing_index, releasing_manifest, untagged),
    (pushing_together, releasing_tag, tagged),
    (pushing_together, releasing_manifest, untagged),
    (collecting, releasing_manifest, untagged),
    (releasing_manifest, releasing_manifest, untagged),
    (releasing_tag, releasing_tag, tagged),
    (copying, releasing_manifest, untagged),
    (copying, releasing_tag, tagged),
    (copying, collecting, untagged),
    (copying, deleting_image, tagged),
    (deleting_image, releasing_manifest, untagged),
]


@pytest.mark.parametrize(("act", "releasing", "prepare"), BESIDE)
def test_beside_retention_each_keeps_what_it_was_told(act: Act, releasing: Act, prepare: Prepare) -> None:
    assert tried(act, releasing, prepare=prepare).ends > 10


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
    async def reversed_(self: Needs, name: RepositoryName, among: Collection[Digest]) -> set[Digest] | None:
        links = await self._with_manifests(name, set(), among)
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
    prepare: Prepare,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mutate(monkeypatch)
    with pytest.raises(Exception) as missed:
        tried(act, releasing, prepare=prepare)
    assert any(note.startswith("by way of") for note in missed.value.__notes__)
