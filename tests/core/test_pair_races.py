"""Every pair of those who change a store: each order of their steps, and a death of either at each of them.

This is where each pair is explored:

               pusher  mounter  deleter  retention  copier  collector  purger
    pusher      here     here     here       R       here       C        P
    mounter              here     here      here     here       C        P
    deleter                       here     R, here  R, here  C, here     P
    retention                                R         R      R, here    P
    copier                                            here      R        P
    collector                                                   C        P
    purger                                                               P

C is tests/core/test_collection_races.py (a collector beside a collector is the second one), R is
tests/core/test_retention_races.py, and P is tests/removal/test_purge_races.py. A mounter and retention have
nothing in common but what comes back with a manifest, since retention takes no blobs; those two are explored
all the same. Eviction takes things as retention does; for what is its own see
tests/mirror/test_eviction_races.py. How many states there were is printed.

Triples, and what takes long, have at most three preemptions and no deaths.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import combinations_with_replacement
from typing import Any

import pytest

from registry.model.digests import Digest
from registry.model.names import RepositoryName, Tag
from registry.removal import claims
from registry.removal.claims import Claims
from registry.store.history import Move
from storage.errors import AlreadyExists
from tests.core import test_collection_races, test_retention_races
from tests.core.acts import (
    KINDS,
    collecting,
    copying,
    deleting,
    deleting_config,
    deleting_image,
    deleting_repository,
    deleting_tag,
    mounting,
    pushing,
    pushing_and_deleting_tag,
    pushing_another,
    pushing_both,
    pushing_index,
    pushing_together,
    releasing_manifest,
    releasing_older,
    releasing_repository,
    releasing_tag,
    tried,
    uploading,
    uploading_there,
)
from tests.core.yard import (
    Act,
    Prepare,
    all_in_the_trash,
    an_older_image,
    nothing_else,
    older_by_the_tag,
    tagged,
    untagged,
)
from tests.removal import test_purge_races

pytestmark = pytest.mark.exhaustive

BESIDE: list[tuple[Act, Act, Prepare]] = [
    (pushing, pushing, nothing_else),
    (pushing, pushing_another, nothing_else),
    (pushing_together, pushing_another, nothing_else),
    (uploading, uploading, nothing_else),
    (uploading, mounting, nothing_else),
    (uploading, mounting, all_in_the_trash),
    (uploading_there, mounting, nothing_else),
    (pushing, deleting, older_by_the_tag),
    (pushing_both, deleting, an_older_image),
    (pushing_both, deleting, older_by_the_tag),
    (pushing, deleting_image, tagged),
    (pushing_index, deleting_image, tagged),
    (pushing, deleting_tag, tagged),
    (pushing_together, deleting_image, tagged),
    (pushing_together, deleting_tag, tagged),
    (pushing_together, deleting_config, nothing_else),
    (pushing, deleting_config, nothing_else),
    (pushing, deleting_repository, tagged),
    (uploading, deleting_repository, untagged),
    (pushing, releasing_repository, nothing_else),
    (pushing, copying, untagged),
    (pushing_another, copying, tagged),
    (uploading_there, copying, tagged),
    (mounting, mounting, nothing_else),
    (mounting, mounting, all_in_the_trash),
    (mounting, deleting_config, nothing_else),
    (mounting, deleting_repository, untagged),
    (mounting, releasing_manifest, untagged),
    (mounting, releasing_tag, tagged),
    (mounting, releasing_repository, nothing_else),
    (mounting, copying, untagged),
    (deleting_image, deleting_image, tagged),
    (deleting_image, deleting_tag, tagged),
    (deleting_image, deleting_config, tagged),
    (deleting_image, deleting_repository, tagged),
    (deleting_repository, deleting_repository, tagged),
    (deleting_image, releasing_tag, tagged),
    (deleting_repository, releasing_manifest, untagged),
    (deleting_config, copying, tagged),
    (deleting_repository, copying, tagged),
    (deleting_image, collecting, tagged),
    (deleting_config, collecting, nothing_else),
    (deleting_repository, collecting, tagged),
    (releasing_tag, collecting, tagged),
    (copying, copying, untagged),
]


@pytest.mark.parametrize(("one", "other", "prepare"), BESIDE)
def test_each_keeps_what_it_was_told(one: Act, other: Act, prepare: Prepare) -> None:
    """trap 79"""
    assert tried(one, other, prepare=prepare).ends > 2


DELETED: list[tuple[Act, Prepare]] = [
    (deleting, older_by_the_tag),
    (releasing_tag, tagged),
    (releasing_older, older_by_the_tag),
]


@pytest.mark.parametrize(("remover", "prepare"), DELETED)
def test_a_deleted_tag_does_not_come_back(remover: Act, prepare: Prepare) -> None:
    """A remover that dies between a put-back and its second look has put back what was deleted meanwhile.

    Its mark cannot tell that from a push. So it dies anywhere where neither makes way more than once.
    """
    assert tried(pushing_and_deleting_tag, remover, prepare=prepare, mortal="a").ends > 2
    assert tried(pushing_and_deleting_tag, remover, prepare=prepare, preemptions=1).ends > 2


def the_writers_clocks_count(monkeypatch: pytest.MonkeyPatch) -> None:
    async def last(self: Claims, moves: Mapping[str, Move]) -> Digest | None:
        return max(moves.values(), key=lambda move: move.at).digest if moves else None

    monkeypatch.setattr(Claims, "_standing", last)


def deletions_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "_ends", lambda deletion, push: False)


def no_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    async def once(self: Claims, name: RepositoryName, tag: Tag, *what: Any, **how: Any) -> None:
        claimed = await self.of(name, tag, *what, **how)
        if claimed is not None:
            with suppress(AlreadyExists):
                await self._store.links.put_tag(name, tag, claimed, if_absent=True)

    monkeypatch.setattr(Claims, "put_back", once)


@pytest.mark.parametrize(
    ("mutate", "preemptions"),
    [(the_writers_clocks_count, 1), (deletions_are_not_looked_at, 1), (no_second_look, None)],
)
def test_what_keeps_a_deleted_tag_away_is_needed(
    mutate: Callable[[pytest.MonkeyPatch], None], preemptions: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutate(monkeypatch)
    mortal = "ab" if preemptions else ""
    with pytest.raises(AssertionError) as missed:
        tried(
            pushing_and_deleting_tag,
            deleting,
            prepare=older_by_the_tag,
            mortal=mortal,
            preemptions=preemptions,
        )
    assert any(note.startswith("by way of") for note in missed.value.__notes__)


def test_there_is_no_other_pair() -> None:
    explored = [(one, other) for one, other, _ in (*BESIDE, *test_retention_races.BESIDE)]
    explored += [(one, collecting) for one, _ in test_collection_races.BESIDE]
    explored += [(one, other) for one, other, _ in test_purge_races.BESIDE]
    kinds = KINDS | {test_purge_races.purging_config: "purger", test_purge_races.purging_older: "purger"}
    pairs = {frozenset((kinds[one], kinds[other])) for one, other in explored}
    assert pairs == {frozenset(pair) for pair in combinations_with_replacement(set(kinds.values()), 2)}
    assert len(pairs) == 28


@pytest.mark.parametrize(
    ("acts", "prepare"),
    [
        ((pushing, collecting, collecting), nothing_else),
        ((uploading, mounting, collecting), nothing_else),
        ((mounting, deleting_config, collecting), nothing_else),
        ((pushing, deleting_config, collecting), nothing_else),
        ((pushing, releasing_manifest, collecting), untagged),
        ((copying, releasing_manifest, collecting), untagged),
        ((copying, deleting_image, collecting), tagged),
        ((pushing, pushing_index, releasing_manifest), untagged),
        ((pushing, copying, deleting_image), tagged),
        ((pushing_together, deleting_repository), tagged),
        ((pushing, pushing_another, deleting_tag), nothing_else),
    ],
)
def test_three_beside_one_another_with_few_preemptions(acts: tuple[Act, ...], prepare: Prepare) -> None:
    assert tried(*acts, prepare=prepare, mortal="", preemptions=3).ends > 2
