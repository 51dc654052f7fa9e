"""A power cut at any moment leaves what was acknowledged whole, and no sync is made that is not needed."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.upkeep.crash.acts import ACTS
from registry.upkeep.crash.client import Client, Ledger
from registry.upkeep.crash.judge import judge
from tests.durability.contending import delete_a_needed_blob
from tests.durability.cuts import Cut, Sync, cuts_during, different, reopened
from tests.durability.judging import wrong
from tests.durability.reader import Tree, look

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
    assert number > 2


RENEWING = {"push again", "move tags"}  # write again what lies there already, the same bytes for the same


@pytest.mark.e2e  # too long for every `make check`
@pytest.mark.parametrize("act", [act for act in ACTS if act not in RENEWING])
async def test_without_any_one_sync_something_is_lost(quick: Path, act: str) -> None:
    _, syncs = await cuts_during(quick / "root", ACTS[act])
    superfluous = []
    for number, sync in enumerate(syncs):
        if not sync.needed:
            assert is_copy_or_empty(sync), sync
            continue
        cuts, _ = await cuts_during(quick / str(number), ACTS[act], dropped=number)
        if not any(lost(cut) for cut in reversed(cuts)) and not is_excused(number, syncs):
            superfluous.append(f"{number}: {sync}")
    assert superfluous == [], "\n".join(superfluous)


def lost(cut: Cut) -> bool:
    """Whether a cut may leave less than was told."""
    return any(wrong(look(tree), cut.ledger) for tree in cut.trees())


def is_copy_or_empty(sync: Sync) -> bool:
    """Of what has no bytes of its own, a copy being another name, the driver syncs the file all the same."""
    return re.search(r"/(trash/.*|_layers|v1)/\.tmp-[^/]*$|/link$", sync.path) is not None


def is_excused(number: int, syncs: list[Sync]) -> bool:
    """Synced for the sake of the call alone: the same directory is synced again before anybody is told.

    And the record of a removal, when it only says that it is done; that may be lost.
    """
    sync, *later = syncs[number:]
    if any(one.path == sync.path and one.told == sync.told for one in later):
        return True
    return sync.path.endswith("/trash/runs") or "/trash/open" in sync.path  # the latter: see below


async def test_a_blob_that_is_needed_comes_back_when_the_cut_falls_while_it_is_away(quick: Path) -> None:
    cuts, syncs = await cuts_during(quick / "root", delete_a_needed_blob)
    for tree, ledger in different(cuts):
        assert await judge(reopened(tree), ledger) == []
    marks = [number for number, sync in enumerate(syncs) if "/trash/open" in sync.path and sync.needed]
    assert len(marks) == 2
    for number in marks:
        cuts, _ = await cuts_during(quick / str(number), delete_a_needed_blob, dropped=number)
        assert [True for tree, ledger in different(cuts) if await is_lost(tree, ledger)]


async def is_lost(tree: Tree, ledger: Ledger) -> bool:
    """Whether the registry misses something, or cannot even read the mark that it goes by."""
    try:
        return await judge(reopened(tree), ledger) != []
    except ValueError:
        return True
