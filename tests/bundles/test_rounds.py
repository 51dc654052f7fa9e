"""Rounds of changes, crossings, losses, retention and collection: in the end both sides have the same."""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from registry.bundles.bundles import Place
from registry.bundles.errors import BundleRefused
from registry.bundles.exporting import Belief, Order
from registry.bundles.format import Head
from registry.bundles.importing import Judged
from registry.bundles.inventory import lines_of_registry, read_inventory
from registry.bundles.records import read_contents
from registry.bundles.selecting import Selected
from registry.bundles.statement import digest_of, key_of
from registry.model.names import RepositoryName, Tag
from registry.upkeep.retention.retaining import EVERYWHERE, Retaining
from registry.upkeep.settings import UpkeepSettings
from tests.bundles.sides import EVERYTHING, Gap, Side
from tests.inmemory import image
from tests.upkeep.gathering import collected

NAMES = [RepositoryName("team/one"), RepositoryName("team/two")]
TAGS = [Tag("v1"), Tag("v2"), Tag("latest")]
NEWEST = {"repositories": ["team/**"], "newest_pushed": 2}


class Rounds:
    """One story: what is lost on the way is drawn by `chance`."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.gap = Gap(folder)
        self.chance = chance
        self.count = 0

    async def change(self) -> None:
        """Push, move and delete some tags on the near side."""
        for _ in range(self.chance.randint(1, 4)):
            name, tag = self.chance.choice(NAMES), self.chance.choice(TAGS)
            if self.chance.random() < 0.2:
                if tag in await self.gap.near.world.store.links.tags(name):
                    await self.gap.near.world.repository(name).delete_tag(tag)
                continue
            layers = [bytes([self.chance.randrange(12)]) * 20 for _ in range(self.chance.randint(1, 3))]
            await self.gap.near.world.push(image(f"{self.chance.random()}", layers=layers), tag, name)

    async def clean(self, side: Side) -> None:
        """Let retention and collection go over a side, some days later."""
        side.world.clock.advance(days=2)
        upkeep = UpkeepSettings.model_validate(
            {
                "gc": {"requests_per_second": 0},
                "retention": {"enforce": True, "max_delete_percent": 100, "rules": [NEWEST]},
            }
        )
        held = side.bundles.holds.held
        retaining = Retaining(lambda: side.world.registry, upkeep, who="tester", held=held)
        async for _ in retaining.run("tester", EVERYWHERE, None):
            pass
        await collected(side.world)
        side.world.clock.advance(days=9)

    async def cross(self) -> None:
        """Carry a bundle, by one of three beliefs; it may be lost, and so may its receipt."""
        near = self.gap.near
        self.count += 1
        path = self.gap.folder / f"{self.count}"
        belief = None
        if self.chance.random() < 0.3:
            belief = await self.inventory()
        elif self.chance.random() < 0.3:
            belief = await near.bundles.exporting.believed(
                "weekly", (await near.select()).statement, one_way=True
            )
        try:
            await near.export(path, self.gap.key, belief=belief, medium_bytes=self.media())
        except BundleRefused as error:
            assert "nothing is selected" in error.message
            return
        if self.chance.random() < 0.3:
            shutil.rmtree(path)
            return
        if self.chance.random() < 0.5:
            # It takes its time, and what it states may be old by then.
            await self.change()
            await self.clean(near)
        judged = await self.arrive(path)
        if judged.is_staged and self.chance.random() < 0.7:
            await self.gap.acknowledge(judged)

    def media(self) -> int | None:
        """Sometimes several media."""
        return self.chance.choice([None, None, 16 << 20])

    async def inventory(self) -> Belief:
        """What the far side says that it holds."""
        far, near = self.gap.far, self.gap.near
        names = [name async for name in far.world.store.catalog.names()]
        lines = [line async for line in lines_of_registry(far.world.store, far.source, names, "far")]
        content = "\n".join([*lines, ""]).encode()
        await far.bundles.holds.give(content)
        inventory = read_inventory(content)
        held = set(inventory.whole | inventory.sparse)
        statement = (await near.select()).statement
        for key in inventory.whole & statement.manifests.keys():
            name = RepositoryName(statement.manifests[key].repositories[0])
            stored = await near.source.manifest(name, digest_of(key))
            assert stored is not None
            held |= {key_of(one.digest) for one in stored.parse().references}
        return Belief(f"inventory:{inventory.sha256}", held)

    async def arrive(self, path: Path) -> Judged:
        """Import what has come; ask for what is missing until there is nothing."""
        judged = await self.gap.far.take_in(path, delete=True)
        for number in range(3):
            if not judged.missing:
                break
            if not number and self.chance.random() < 0.3:
                # What came is kept for a day, and has to be asked for as well after that.
                await self.clean(self.gap.far)
            self.count += 1
            more = self.gap.folder / f"{self.count}-supplement"
            await self.supplement(more, judged)
            judged = await self.gap.far.take_in(more, delete=True)
        assert judged.is_staged, judged.missing
        return judged

    async def supplement(self, path: Path, judged: Judged) -> None:
        """What an import has found missing, from the near side, whose retention has not taken it."""
        bundles, head = self.gap.near.bundles, judged.head
        sent = await bundles.exporting.sent.find(head.supplements or head.id)
        statement = await read_contents(self.gap.near.world.store, sent.head)
        stated = {key for key, _ in statement.all}
        wanted = {key for key in stated if str(digest_of(key)) in judged.missing}
        belief = Belief(sent.head.parent, stated - wanted)
        order = Order(
            "weekly", "near.example", sent.head.selection, Selected(statement), belief, None, (), sent.head
        )
        steps = bundles.write(order, self.gap.near.source, lambda _: Place(path), self.gap.key)
        assert [step async for step in steps if isinstance(step, Head)]

    async def end(self) -> None:
        """A last crossing, of which nothing is lost."""
        if not (await self.gap.near.select(EVERYTHING)).statement.manifests:
            return
        path = self.gap.folder / "last"
        await self.gap.near.export(path, self.gap.key)
        await self.arrive(path)
        near, far = await self.gap.near.tags(), await self.gap.far.tags()
        assert near == far
        for one in near:
            name, tag = one.split(":")
            assert await self.gap.far.whole(name, tag) == await self.gap.near.whole(name, tag)


@settings(max_examples=30)
@given(st.randoms(use_true_random=False), st.integers(1, 10))
def test_after_the_last_import_both_sides_are_the_same(chance: random.Random, rounds: int) -> None:
    async def story() -> None:
        with tempfile.TemporaryDirectory() as folder:
            told = Rounds(Path(folder), chance)
            for _ in range(rounds):
                await told.change()
                await told.cross()
                for side in (told.gap.near, told.gap.far):
                    if chance.random() < 0.5:
                        await told.clean(side)
            await told.end()

    asyncio.run(story())
