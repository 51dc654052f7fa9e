"""Power that fails again and again: each boot goes on from what the last cut left, chosen by chance."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import cast

import pytest

from registry.app.opening import open_scratch
from registry.upkeep.crash.acts import ACTS, prepare
from registry.upkeep.crash.client import Client
from registry.upkeep.crash.judge import judge
from registry.upkeep.crash.ledger import Ledger
from storage.local import LocalDriver
from tests.durability.cuts import Cut, RecordingFiles, reopened
from tests.durability.judging import wrong
from tests.durability.reader import Tree, look
from tests.soak import rounds

BOOTS = 6
# Those that may be done in any order; the others tell what holds in the order of a single act only.
IN_ANY_ORDER = sorted(
    ACTS.keys() - {"reindex", "delete a manifest", "delete a repository", "collect", "let go"}
)


async def cuts_of_a_boot(root: Path, tree: Tree, ledger: Ledger, boot: int, acts: list[str]) -> list[Cut]:
    """The cuts that may come while a registry on what was left does several acts."""
    root.mkdir()
    files = RecordingFiles(root, ledger)
    files.lay(root, tree)
    async with open_scratch(str(root), files) as registry:
        cast(LocalDriver, registry.store.beneath)._epoch = f"boot {boot}"
        client = Client(registry, files.tell)
        if not tree:
            await prepare(client)
        files.begin()
        for act in acts:
            await ACTS[act](client)
        cuts = files.cuts()
    files.close_all()
    return cuts


@pytest.mark.soak
@pytest.mark.timeout(0)
async def test_what_was_acknowledged_outlives_cut_after_cut() -> None:
    for seed in rounds(9):
        chance = random.Random(seed)
        tree: Tree = {}
        ledger = Ledger()
        with tempfile.TemporaryDirectory() as directory:
            for boot in range(BOOTS):
                acts = chance.choices(IN_ANY_ORDER, k=2)
                cuts = await cuts_of_a_boot(Path(directory) / str(boot), tree, ledger, boot, acts)
                cut = chance.choice(cuts)
                tree = chance.choice([*cut.trees()])
                ledger = Ledger(dict(cut.ledger.may_be))
                assert wrong(look(tree), ledger) == [], acts
                assert await judge(reopened(tree), ledger) == [], acts
