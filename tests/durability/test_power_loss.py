"""A power cut at any moment leaves what was acknowledged whole, and no sync is made that is not needed."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.model.digests import Digest
from registry.upkeep.crash.acts import ACTS, TAKEN
from registry.upkeep.crash.client import Client
from registry.upkeep.crash.judge import judge
from registry.upkeep.crash.ledger import Ledger
from tests.durability.contending import delete_a_needed_blob, delete_a_tag_twice
from tests.durability.cuts import Cut, Effect, Sync, cuts_during, different, reopened
from tests.durability.judging import wrong
from tests.durability.reader import Tree, look

pytestmark = pytest.mark.exhaustive

MEMORY = Path("/dev/shm")
EVERY = 20


@pytest.fixture
def quick() -> Iterator[Path]:
    """A directory in memory where there is one: it is the model whose power is cut, not the disk."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as directory:
        yield Path(directory)


@pytest.mark.parametrize("act", ACTS)
async def test_what_was_acknowledged_outlives_a_cut_at_any_moment(quick: Path, act: str) -> None:
    cuts, _ = await cuts_during(quick / "root", ACTS[act])
    for number, (tree, ledger) in enumerate(different(cuts)):
        assert wrong(look(tree), ledger) == []
        if number % EVERY == 0:
            registry = reopened(tree)
            assert await judge(registry, ledger) == []
            again = Ledger(dict(ledger.may_be))
            await ACTS[act](Client(registry, again.note))
            assert await judge(registry, again) == []
    assert number > 1


RENEWING = {"push again", "move tags", "heal", "reindex"}  # write here and there what lies there already


@pytest.mark.e2e  # too long for every `make check`
@pytest.mark.parametrize("act", ACTS)
async def test_without_any_one_sync_something_is_lost(quick: Path, act: str) -> None:
    _, syncs = await cuts_during(quick / "root", ACTS[act])
    superfluous = []
    for number, sync in enumerate(syncs):
        if sync.effect is Effect.NOTHING:
            assert is_copy_or_empty(sync), sync
        elif sync.effect is Effect.THE_SAME:
            assert act in RENEWING, sync
        elif not is_excused(act, number, syncs):
            cuts, _ = await cuts_during(quick / str(number), ACTS[act], dropped=number)
            if not is_anything_lost(cuts):
                superfluous.append(f"{number}: {sync}")
    assert superfluous == [], "\n".join(superfluous)


def is_anything_lost(cuts: list[Cut]) -> bool:
    """Whether a cut may leave less than was told."""
    return any(wrong(look(tree), ledger) for tree, ledger in different(reversed(cuts)))


def is_copy_or_empty(sync: Sync) -> bool:
    """Of what has no bytes of its own, a copy being another name, the driver syncs the file all the same."""
    empty, copies = r"/(trash/.*|_layers|v1|here/sha256)/\.tmp-[^/]*$", r"/(link|data|[cu]-[^/]*)$"
    return re.search(f"{empty}|{copies}", sync.path) is not None


def is_excused(act: str, number: int, syncs: list[Sync]) -> bool:
    """Whether nothing may be lost without the sync, since somebody is told of it only after a later one.

    More goes from the same directory, or the directory itself. A record of a removal says that it is done, or
    (the first that collect makes) of what is put back. A mark of a removal is put: see below. A directory
    that reindex has made is where it ends, too.
    """
    sync, before = syncs[number], syncs[:number]
    after = [one for one in syncs[number + 1 :] if one.told == sync.told]
    again = any(one.path == sync.path for one in after)
    if sync.effect is Effect.REMOVALS:
        # The link of what was purged leads to nothing, should it come back.
        of_purged = act == "purge" and "/_layers" in sync.path
        return of_purged or any(f"{sync.path}/".startswith(f"{one.path}/") for one in after)
    if sync.path.endswith("/trash/runs"):
        earlier = [one.told for one in before if one.path == sync.path]
        return sync.told in earlier or (act in ("collect", "delete a repository") and not earlier)
    if Digest.of(TAKEN).encoded in sync.path:
        return (
            act == "delete a repository"
        )  # what it keeps away that a collection took; nobody asked for that
    if sync.path.endswith("/trash"):
        return again or is_of_a_mark(before[-1])
    return is_of_a_mark(sync) or (act == "reindex" and again and sync.path.endswith("/v1"))


def is_of_a_mark(sync: Sync) -> bool:
    """Whether the sync makes a mark durable."""
    return "/trash/open" in sync.path


async def test_a_blob_that_is_needed_comes_back_when_the_cut_falls_while_it_is_away(quick: Path) -> None:
    cuts, syncs = await cuts_during(quick / "root", delete_a_needed_blob)
    for tree, ledger in different(cuts):
        assert await judge(reopened(tree), ledger) == []
    marks = [number for number, sync in enumerate(syncs) if is_of_a_mark(sync)]
    assert len(marks) == 2
    marks.append(marks[-1] + 1)  # the name of their directory
    assert syncs[marks[-1]].path.endswith("/trash")
    for number in marks:
        cuts, _ = await cuts_during(quick / str(number), delete_a_needed_blob, dropped=number)
        assert [True for tree, ledger in different(cuts) if await is_lost(tree, ledger)]


async def test_a_tag_that_is_deleted_while_it_is_put_back_stays_deleted(quick: Path) -> None:
    cuts, _ = await cuts_during(quick / "root", delete_a_tag_twice)
    assert not is_anything_lost(cuts)


async def is_lost(tree: Tree, ledger: Ledger) -> bool:
    """Whether the registry misses something, or cannot even read the mark that it goes by."""
    try:
        return await judge(reopened(tree), ledger) != []
    except ValueError:
        return True
